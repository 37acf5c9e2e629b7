"""What a residency policy may ask about times and prices; the engine itself knows neither."""

from __future__ import annotations

from typing import Protocol


class Quotes(Protocol):
    """Expected costs, as the replica works them out from its cost model, its links and the workload."""

    def now_s(self) -> float:
        """The time at which the engine decides."""
        ...

    def recompute_usd(self, past_tokens: int, new_tokens: int) -> float:
        """What it costs to compute ``new_tokens`` again after ``past_tokens`` that are there: the whole replica."""
        ...

    def copy_usd(self, source: int, target: int, moved_bytes: float, tokens: int) -> float:
        """What a copy costs now: the HBM it occupies while it waits for its link and moves."""
        ...

    def hold_usd(self, tier: int, held_bytes: float, seconds: float) -> float:
        """What it costs to hold bytes in a tier."""
        ...

    def expected_idle_s(self, session: int, idle_s: float) -> float:
        """How much longer a session is expected to be idle that has been for ``idle_s``; 0 where it asks already."""
        ...

    def next_use_s(self, session: int) -> float:
        """When the session asks again: infinite where it never does. Only a clairvoyant policy may ask."""
        ...
