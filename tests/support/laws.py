"""Laws of known cost, in place of a model on a machine."""

from __future__ import annotations

from ctxsim.cost import Piece
from ctxsim.geometry import UNBOUNDED, BatchTotals


class ConstantLaw:
    """Every iteration takes the same time, whatever runs in it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, batch: BatchTotals) -> list[Piece]:
        """See Law."""
        return [Piece(UNBOUNDED, self._seconds, 0.0)]


class TokenLaw:
    """An iteration takes a time for each token computed, and nothing else."""

    def __init__(self, seconds_per_token: float) -> None:
        self._seconds_per_token = seconds_per_token

    def __call__(self, batch: BatchTotals) -> list[Piece]:
        """See Law."""
        return [Piece(UNBOUNDED, batch.new_tokens * self._seconds_per_token, 0.0)]
