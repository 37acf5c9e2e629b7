"""Operations whose measured time depends on numbers of tokens and sequences alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ctxsim.cost.calibrated.products import Per
from ctxsim.geometry import BatchTotals


class Priced(Protocol):
    """An operation without context. covers: operations of fidelity peak that its time includes beside its own."""

    @property
    def operation(self) -> str:
        """Its name in breakdowns."""
        ...

    @property
    def covers(self) -> tuple[str, ...]:
        """Names of the operations whose time is in this one's."""
        ...

    def seconds(self, batch: BatchTotals) -> float:
        """Its time in one pass over the batch."""
        ...


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
    covers: tuple[str, ...] = ()
    _seconds: dict[int, float] = field(default_factory=dict, compare=False)

    def seconds(self, batch: BatchTotals) -> float:
        """Its time in one pass over the batch."""
        amount = batch.new_tokens if self.per == "tokens" else batch.sequences
        seconds = self._seconds.get(amount)
        if seconds is None:
            seconds = self._seconds[amount] = self.runs * float(self.price(amount)) if amount else 0.0
        return seconds


@dataclass(frozen=True, slots=True)
class PhasedTariff:
    """An operation priced by seconds of one run over (chunks of prompts, their tokens, decoding sequences)."""

    operation: str
    runs: int
    price: Callable[[int, int, int], float]
    covers: tuple[str, ...] = ()

    def seconds(self, batch: BatchTotals) -> float:
        """Its time in one pass over the batch."""
        decoding = batch.decode_tokens
        return self.runs * self.price(batch.sequences - decoding, batch.new_tokens - decoding, decoding)
