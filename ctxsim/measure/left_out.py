"""What was not measured, and why: no gap in a table of measurements without a word on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ctxsim.measure.plan import Plan
from ctxsim.measure.points import Point


class LeftOut:
    """Points without a row: each reason is said when it first comes up, and how often at the end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._counts: Counter[tuple[str, str]] = Counter()
        self._unreached: Counter[str] = Counter()

    def by_plan(self, planned: Plan) -> None:
        """Says what the plan has no room for, and what the device does not have."""
        for family, count in planned.too_long.items():
            if count:
                self._say(
                    f"{family}: {count} points left out, each would take too much of the budget; give a larger one"
                )
        for family in planned.empty:
            self._say(f"{family}: left out, as there is one device")

    def add(self, point: Point, why: str) -> None:
        """This point was left out."""
        key = (f"{point.family} {point.dtype}".strip(), why)
        if not self._counts[key]:
            self._say(f"left out: {point}: {why}")
        self._counts[key] += 1

    def unreached(self, point: Point) -> None:
        """There was no time for this point."""
        self._unreached[point.family] += 1

    def say_counts(self) -> None:
        """Says how often what came up more than once, and what there was no time for."""
        for family, count in self._unreached.items():
            self._say(f"{family}: {count} finer points were not reached; give a larger budget")
        for (what, why), count in self._counts.items():
            if count > 1:
                self._say(f"{what}: {count} points left out in all: {why}")
