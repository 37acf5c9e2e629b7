"""The time of an iteration from measured curves, as a law of affine pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxsim.cost.calibrated.kernels import Kernel, Stretch
from ctxsim.cost.calibrated.tariffs import Priced
from ctxsim.cost.law import Law, Piece
from ctxsim.geometry import UNBOUNDED, BatchTotals

MOST_SHAPES = 100_000


class CalibratedLaw:
    """Sum over operations; what depends on numbers of tokens and sequences alone is remembered.

    rest: a law of whatever is not calibrated.
    """

    def __init__(self, fixed: Sequence[Priced], kernels: Sequence[Kernel], rest: Law) -> None:
        self._fixed = tuple(fixed)
        self._kernels = tuple(kernels)
        self._rest = rest
        self._fixed_s: dict[tuple[int, int, int], float] = {}

    def __call__(self, batch: BatchTotals) -> Iterator[Piece]:
        """See Law; each piece is worked out when it is asked for."""
        fixed_s = self._fixed_seconds(batch)
        others = tuple(self._rest(batch))
        start = 0
        while start < UNBOUNDED:
            stretches = [kernel.at(batch, start) for kernel in self._kernels]
            stretches.append(_of_pieces(others, start))
            until = min(stretch.until for stretch in stretches)
            first_s = fixed_s + sum(stretch.seconds for stretch in stretches)
            yield Piece(until, first_s, sum(stretch.growth_s for stretch in stretches))
            start = until

    def _fixed_seconds(self, batch: BatchTotals) -> float:
        key = (batch.new_tokens, batch.sequences, batch.decode_tokens)
        seconds = self._fixed_s.get(key)
        if seconds is None:
            if len(self._fixed_s) >= MOST_SHAPES:
                self._fixed_s.clear()
            seconds = self._fixed_s[key] = sum(operation.seconds(batch) for operation in self._fixed)
        return seconds


def _of_pieces(pieces: Sequence[Piece], start: int) -> Stretch:
    """What a law's pieces say of iteration ``start``."""
    begun = 0
    for piece in pieces:
        if start < piece.until:
            return Stretch(piece.first_s + (start - begun) * piece.growth_s, piece.growth_s, piece.until)
        begun = piece.until
    raise AssertionError("a law's last piece has no end")
