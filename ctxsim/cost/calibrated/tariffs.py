"""Operations whose measured time depends on numbers of tokens and sequences alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ctxsim.cost.calibrated.products import Per
from ctxsim.geometry import BatchTotals


@dataclass(frozen=True, slots=True)
class Tariff:
    """An operation priced by seconds of one run over a number of tokens, or of sequences; remembered by number.

    runs: how often a pass runs it. family: of the calibration's fits, whose errors it shares.
    """

    operation: str
    family: str
    per: Per
    runs: int
    price: Callable[[int], float]
    _seconds: dict[int, float] = field(default_factory=dict, compare=False)

    def seconds(self, batch: BatchTotals) -> float:
        """Its time in one pass over the batch."""
        amount = batch.new_tokens if self.per == "tokens" else batch.sequences
        seconds = self._seconds.get(amount)
        if seconds is None:
            seconds = self._seconds[amount] = self.runs * float(self.price(amount)) if amount else 0.0
        return seconds
