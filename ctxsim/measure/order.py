"""Orders in which every beginning covers its whole range: corners first, then ever finer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import product
from math import sqrt
from typing import Any, TypeVar

Item = TypeVar("Item")
Group = TypeVar("Group", bound=Hashable)

_GOLDEN = (sqrt(5) - 1) / 2


def levels(count: int) -> list[int]:
    """The level of each index: 0 for both ends, then 1 for the middle, 2 for the middles of the halves, and so on."""
    found = [0] * count
    gaps, level = [(0, count - 1)], 0
    while gaps := [(a, b) for a, b in gaps if b - a > 1]:
        level += 1
        for a, b in gaps:
            found[(a + b) // 2] = level
        gaps = [half for a, b in gaps for half in ((a, (a + b) // 2), ((a + b) // 2, b))]
    return found


def coarse_to_fine(*axes: Sequence[Any]) -> list[tuple[int, tuple[Any, ...]]]:
    """All combinations of the axes' values, with their level (the finest of their axes), coarse ones first.

    Within a level those that are coarse on more axes come first; equals are spread by steps of the golden ratio.
    """
    levels_of = [levels(len(axis)) for axis in axes]
    found = []
    for i, places in enumerate(product(*(range(len(axis)) for axis in axes))):
        fine = [levels_of[axis][place] for axis, place in enumerate(places)]
        values = tuple(axes[axis][place] for axis, place in enumerate(places))
        found.append((max(fine), sum(fine), (i * _GOLDEN) % 1, values))
    return [(level, values) for level, _, _, values in sorted(found, key=lambda entry: entry[:3])]


def shared(
    queues: Mapping[Group, Sequence[Item]], weights: Mapping[Group, float], cost: Callable[[Item], float]
) -> Iterator[Item]:
    """The items of all queues, each in its order, so that every beginning spends on the queues by their weights."""
    spent = dict.fromkeys(queues, 0.0)
    waiting = {group: iter(queue) for group, queue in queues.items()}
    while waiting:
        group = min(waiting, key=lambda g: spent[g] / weights[g])
        item = next(waiting[group], None)
        if item is None:
            del waiting[group]
            continue
        spent[group] += cost(item)
        yield item
