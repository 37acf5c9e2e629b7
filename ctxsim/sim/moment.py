"""What happens in one moment, handed on together, so that no rounding error decides what came first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import simpy

T = TypeVar("T")


class Moment(Generic[T]):
    """Gathers items from the first one on for ``lasts_s``, then hands them on in the order of ``key``.

    Items that come of those that are handed on belong to the same moment and are next, in their order.
    Two replicas that reach the same time by different sums differ in the last bits; sorted, they keep one order
    whatever the sums were.
    """

    def __init__(
        self, env: simpy.Environment, lasts_s: float, key: Callable[[T], int], hand_on: Callable[[T], object]
    ) -> None:
        self._env = env
        self._lasts_s = lasts_s
        self._key = key
        self._hand_on = hand_on
        self._items: list[T] = []
        self._handing_on = False

    def add(self, item: T) -> None:
        """The item happens now."""
        if not (self._items or self._handing_on):
            self._env.timeout(self._lasts_s).callbacks.append(self._end)
        self._items.append(item)

    def _end(self, _: simpy.Event) -> None:
        self._handing_on = True
        while self._items:
            items, self._items = self._items, []
            for item in sorted(items, key=self._key):
                self._hand_on(item)
        self._handing_on = False
