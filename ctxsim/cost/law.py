"""The time of an iteration as a law of its batch: affine pieces in the iteration index, not a single number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from ctxsim.cost.operations import Operation, Rates
from ctxsim.geometry import UNBOUNDED, BatchTotals

STATIC_CACHE_ENTRIES = 100_000


class Piece(NamedTuple):
    """Iterations up to (not including) ``until``: the first costs ``first_s``, each next ``growth_s`` more."""

    until: int
    first_s: float
    growth_s: float


class Law(Protocol):
    """Anything that prices a batch; a stub takes its place where queueing theory is tested."""

    def __call__(self, batch: BatchTotals) -> Iterable[Piece]:
        """The pieces of a batch that repeats, first one first, the last unbounded."""
        ...


class _Slopes(NamedTuple):
    """Seconds of an attention kernel per pair and per touched token, for compute and for memory."""

    span: int
    compute_per_pair_s: float
    compute_per_touched_s: float
    hbm_per_touched_s: float


# Compute and memory time of one operation at iteration k: (compute_s, its growth, hbm_s, its growth).
_Line = tuple[float, float, float, float]


class RooflineLaw:
    """Sum over operations of the longer of compute and memory time, plus links and a fixed overhead an iteration.

    Operations without context depend on the number of tokens and sequences only, so their sum is remembered.
    """

    def __init__(self, operations: tuple[Operation, ...], rates: Rates, overhead_s: float) -> None:
        self._rates = rates
        self._overhead_s = overhead_s
        self._fixed_s: dict[tuple[int, int, int], float] = {}
        self._fixed = tuple(op for op in operations if op.span is None)
        by_context = [op for op in operations if op.span is not None]
        self._kernels = tuple(self._slopes(op) for op in by_context if _is_kernel(op))
        self._mixed = tuple(op for op in by_context if not _is_kernel(op))

    def __call__(self, batch: BatchTotals) -> list[Piece]:
        """The pieces of a batch that repeats; see Law."""
        fixed_s = self._fixed_s.get((batch.new_tokens, batch.sequences, batch.decode_tokens))
        if fixed_s is None:
            fixed_s = self._fixed_seconds(batch)
        lines = [_kernel_line(kernel, batch) for kernel in self._kernels]
        if self._mixed:
            lines += [self._line(op, batch) for op in self._mixed]
        pieces: list[Piece] = []
        start = 0
        while True:
            first_s, growth_s, until = fixed_s, 0.0, UNBOUNDED
            for line in lines:
                top_s, top_growth_s, crossing = _longer(line, start)
                first_s += top_s
                growth_s += top_growth_s
                if crossing < until:
                    until = crossing
            pieces.append(Piece(until, first_s, growth_s))
            if until == UNBOUNDED:
                return pieces
            start = until

    def _slopes(self, op: Operation) -> _Slopes:
        assert op.span is not None
        return _Slopes(
            op.span,
            op.flop_per_pair / op.flop_per_s,
            op.flop_per_touched / op.flop_per_s,
            op.bytes_per_touched / self._rates.hbm_bytes_per_s,
        )

    def _fixed_seconds(self, batch: BatchTotals) -> float:
        """Worked out, and remembered for the next batch of as many tokens and sequences."""
        if len(self._fixed_s) >= STATIC_CACHE_ENTRIES:
            self._fixed_s.clear()
        seconds = self._overhead_s + sum(self._operation_s(op, batch) for op in self._fixed)
        self._fixed_s[batch.new_tokens, batch.sequences, batch.decode_tokens] = seconds
        return seconds

    def _operation_s(self, op: Operation, batch: BatchTotals) -> float:
        link_s = self._rates.sent_s(op, batch) + self._rates.waited_s(op)
        hbm_s = op.hbm_bytes(batch) / op.hbm_bytes_per_s(batch, self._rates.hbm_bytes_per_s)
        roofline_s = max(op.flop(batch) / op.flop_per_s, hbm_s)
        return float(roofline_s + link_s)

    def _line(self, op: Operation, batch: BatchTotals) -> _Line:
        span = op.span
        assert span is not None
        flop_growth = batch.pairs_growth[span] * op.flop_per_pair + batch.touched_growth[span] * op.flop_per_touched
        hbm_bytes_per_s = op.hbm_bytes_per_s(batch, self._rates.hbm_bytes_per_s)
        return (
            op.flop(batch) / op.flop_per_s,
            flop_growth / op.flop_per_s,
            op.hbm_bytes(batch) / hbm_bytes_per_s,
            batch.touched_growth[span] * op.bytes_per_touched / hbm_bytes_per_s,
        )


def _is_kernel(op: Operation) -> bool:
    """Whether an operation depends on pairs and touched tokens alone, as attention kernels do."""
    of_tokens = op.flop_per_token or op.flop_per_decode_token or op.bytes_per_decode_token
    return op.reader is None and not (of_tokens or op.flop_per_sequence or op.bytes_per_pass)


def _kernel_line(kernel: _Slopes, batch: BatchTotals) -> _Line:
    span, per_pair_s, per_touched_s, hbm_per_touched_s = kernel
    touched, growth = batch.touched[span], batch.touched_growth[span]
    return (
        batch.pairs[span] * per_pair_s + touched * per_touched_s,
        batch.pairs_growth[span] * per_pair_s + growth * per_touched_s,
        touched * hbm_per_touched_s,
        growth * hbm_per_touched_s,
    )


def _longer(line: _Line, start: int) -> tuple[float, float, int]:
    """Time and growth of the longer side at iteration ``start``, and the first iteration at which the other leads."""
    compute_s, compute_growth_s, hbm_s, hbm_growth_s = line
    if start:
        compute_s += start * compute_growth_s
        hbm_s += start * hbm_growth_s
    if compute_s > hbm_s or (compute_s == hbm_s and compute_growth_s >= hbm_growth_s):
        lead_s, lead_growth_s, gap_growth_s = compute_s, compute_growth_s, hbm_growth_s - compute_growth_s
    else:
        lead_s, lead_growth_s, gap_growth_s = hbm_s, hbm_growth_s, compute_growth_s - hbm_growth_s
    if gap_growth_s <= 0:
        return lead_s, lead_growth_s, UNBOUNDED
    steps = abs(compute_s - hbm_s) / gap_growth_s
    return lead_s, lead_growth_s, start + int(steps) + 1 if steps < UNBOUNDED // 2 else UNBOUNDED


def course_s(pieces: Iterable[Piece], iterations: int) -> float:
    """Seconds that the first ``iterations`` repetitions take together: n * first + growth * n (n - 1) / 2, by piece."""
    total_s, start = 0.0, 0
    for piece in pieces:
        n = min(iterations, piece.until) - start
        total_s += n * piece.first_s + piece.growth_s * (n * (n - 1) / 2)
        start += n
        if start >= iterations:
            break
    return total_s
