"""Copies as fluids: amounts that flow through shared resources at max-min fair rates, exact between changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf

from ctxsim.cost.topology import Route, max_min_rates

Key = tuple[int, int]

MOST_SHARINGS = 4096
"""Sets of flows whose rates are remembered."""


class Flow:
    """An amount on its way: ``left_bytes`` of it at ``since_s``, moving at ``bytes_per_s`` from then to ``end_s``."""

    __slots__ = ("bytes_per_s", "end_s", "left_bytes", "route", "since_s")

    def __init__(self, route: Route, amount_bytes: float, since_s: float) -> None:
        self.route = route
        self.left_bytes = amount_bytes
        self.since_s = since_s
        self.bytes_per_s = 0.0
        self.end_s = inf

    def go_on(self, since_s: float, bytes_per_s: float) -> None:
        """Another rate from then on."""
        self.left_bytes -= self.moved_bytes(since_s)
        self.since_s = since_s
        self.bytes_per_s = bytes_per_s
        self.end_s = since_s + self.left_bytes / bytes_per_s

    def moved_bytes(self, at_s: float) -> float:
        """What moved from ``since_s`` to then."""
        return min(self.left_bytes, self.bytes_per_s * max(0.0, at_s - self.since_s))


class Fluid:
    """Flows by key, in the order of keys; a change of any of them sets the rates of all anew.

    Time only goes forward: what begins before ``changed_s``, the time of the last change, begins then. A flow whose
    rate stays the same is not touched, so that it ends at exactly its beginning + amount / rate.
    """

    def __init__(self, capacities: Sequence[float]) -> None:
        self.changed_s = 0.0
        self._capacities = capacities
        self._flows: dict[Key, Flow] = {}
        self._passed_bytes: dict[int, float] = defaultdict(float)
        self._fair_rates: dict[tuple[Route, ...], list[float]] = {}

    def begin(self, key: Key, route: Route, amount_bytes: float, at_s: float) -> None:
        """An amount begins to flow; one of nothing ends at the same time."""
        self.changed_s = max(self.changed_s, at_s)
        self._flows[key] = Flow(route, amount_bytes, self.changed_s)
        self._flows = dict(sorted(self._flows.items()))
        self._share()

    def end(self, key: Key) -> None:
        """A flow has arrived, at its ``end_s``."""
        flow = self._flows.pop(key)
        self.changed_s = max(self.changed_s, flow.end_s)
        self._pass(flow, flow.left_bytes)
        self._share()

    def next_end(self) -> tuple[float, Key] | None:
        """When the first flow arrives, if the rates stay as they are, and which; the least key of several."""
        return min(((flow.end_s, key) for key, flow in self._flows.items()), default=None)

    def end_s(self, key: Key) -> float | None:
        """When that flow arrives, if the rates stay as they are; None where there is none."""
        flow = self._flows.get(key)
        return None if flow is None else flow.end_s

    def rates(self) -> Iterator[tuple[Key, float]]:
        """The rate of every flow, by key, in bytes/s."""
        return ((key, flow.bytes_per_s) for key, flow in self._flows.items())

    def bytes_per_s_beside(self, key: Key, route: Route) -> float:
        """The rate a flow on that route would have in place of the one of that key, beside all others."""
        others = [flow.route for other, flow in self._flows.items() if other != key]
        return max_min_rates(self._capacities, [*others, route])[-1]

    def passed_bytes(self, at_s: float) -> dict[int, float]:
        """Bytes that passed each resource up to a time that is not before the last change."""
        passed = defaultdict(float, self._passed_bytes)
        for flow in self._flows.values():
            for resource, weight in flow.route:
                passed[resource] += weight * flow.moved_bytes(at_s)
        return passed

    def _share(self) -> None:
        """Fair rates from ``changed_s`` on."""
        routes = tuple(flow.route for flow in self._flows.values())
        rates = self._fair_rates.get(routes)
        if rates is None:
            rates = self._find_rates(routes)
        for flow, rate in zip(self._flows.values(), rates, strict=True):
            if rate != flow.bytes_per_s:
                self._pass(flow, flow.moved_bytes(self.changed_s))
                flow.go_on(self.changed_s, rate)

    def _find_rates(self, routes: tuple[Route, ...]) -> list[float]:
        """Worked out, and remembered: the same few replicas copy at once again and again."""
        if len(self._fair_rates) >= MOST_SHARINGS:
            self._fair_rates.clear()
        rates = self._fair_rates[routes] = max_min_rates(self._capacities, routes)
        return rates

    def _pass(self, flow: Flow, amount_bytes: float) -> None:
        for resource, weight in flow.route:
            self._passed_bytes[resource] += weight * amount_bytes
