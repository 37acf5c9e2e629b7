"""The links between memory tiers in simulated time: copies in order, sharing what they pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import simpy

from ctxsim.cost.topology import HBM, Fabric, Route
from ctxsim.sim.fluid import Fluid, Key
from ctxsim.sim.jump import COMPLETION_MOMENT_S

# The queues of a replica, in the order in which those that are due at one time are served.
OUT_OF_HBM, INTO_HBM, BELOW_HBM = range(3)

RateChange = Callable[[int, float], None]


@dataclass(slots=True, eq=False)
class Copy:
    """KV of one replica on its way from one tier to another (0 HBM, 1 host memory, 2 disk).

    setup_s: what it takes before its bytes flow, on no bandwidth (cost.transfers.setup_s). on_end: called once it has
    arrived. ordered_s, start_s (of its set-up), end_s: its logical times, as they come.
    """

    replica: int
    source: int
    target: int
    moved_bytes: float
    descriptors: int
    setup_s: float
    on_end: Callable[[Copy], None]
    ordered_s: float = field(default=-1.0, init=False)
    start_s: float = field(default=-1.0, init=False)
    end_s: float = field(default=-1.0, init=False)

    @property
    def key(self) -> Key:
        """Its replica and its queue there."""
        return self.replica, queue_of(self.source, self.target)


def queue_of(source: int, target: int) -> int:
    """The queue of a copy between two tiers."""
    if source == HBM:
        return OUT_OF_HBM
    return INTO_HBM if target == HBM else BELOW_HBM


class Links:
    """All copies of a fleet in one SimPy environment.

    A replica's copies out of HBM go one after the other as they were ordered, and so do those into HBM and those from
    host memory to disk. Copies of different queues and replicas share what they pass, max-min fairly.

    Times are logical, those of the replicas' clocks; the environment's, which may be ahead by what a replica waits
    before it plans (sim.jump), only orders events. Copies that end within COMPLETION_MOMENT_S are one moment, whatever
    their last bits: at its end ``on_end`` is called for each, by replica and queue. ``on_rate_change(replica, at_s)``
    is called, by replica, for each whose copies move bytes in or out of its HBM at another rate than it was told last:
    after the ends of a moment, or within ``order``, for the one that orders too. at_s: when the last change was.
    """

    def __init__(self, env: simpy.Environment, fabric: Fabric, on_rate_change: RateChange) -> None:
        self._env = env
        self._fabric = fabric
        self._capacities = fabric.capacities
        self._on_rate_change = on_rate_change
        self._nodes: dict[int, NodeCopies] = {}
        self._next_s: dict[int, float] = {}
        self._touched: set[int] = set()
        self._ended: list[Copy] = []
        self._handing_on = False
        self._wake: simpy.Event | None = None
        self._wake_s = inf

    def order(self, copy: Copy, at_s: float) -> None:
        """The copy queues up at that logical time, and begins then where its queue is idle."""
        number = self._fabric.node_of(copy.replica)
        node = self._nodes.get(number)
        if node is None:
            node = self._nodes[number] = NodeCopies(self._fabric, self._capacities)
        copy.ordered_s = at_s
        node.add(copy)
        self._advance(number, at_s)
        if not self._handing_on:
            self._settle()

    def copy_bytes_per_s(self, replica: int) -> float:
        """Bytes per second that the replica's copies move in and out of its HBM now; a set-up moves none."""
        node = self._nodes.get(self._fabric.node_of(replica))
        return 0.0 if node is None else node.hbm_bytes_per_s().get(replica, 0.0)

    def backlog_s(self, replica: int, source: int, target: int, now_s: float) -> float:
        """How long a copy ordered now would wait before it begins, if each before it kept its present rate.

        A copy that does not flow yet is taken to have the rate that it would have now, beside what flows in the other
        queues. Takes time with the length of the queue.
        """
        node = self._nodes.get(self._fabric.node_of(replica))
        return 0.0 if node is None else node.backlog_s(replica, source, target, now_s)

    def moved_bytes(self, at_s: float) -> list[float]:
        """Bytes that passed each resource of the fabric up to now, a logical time."""
        moved = [0.0] * len(self._capacities)
        for node in self._nodes.values():
            for resource, amount_bytes in node.fluid.passed_bytes(at_s).items():
                moved[resource] = amount_bytes
        return moved

    def replica_busy_s(self, at_s: float) -> list[float]:
        """Seconds up to now, a logical time, in which each replica had a copy into or out of HBM, set-up included."""
        nodes = (self._nodes.get(self._fabric.node_of(replica)) for replica in range(self._fabric.replicas))
        return [0.0 if node is None else node.busy_s(replica, at_s) for replica, node in enumerate(nodes)]

    def _advance(self, number: int, until_s: float) -> None:
        """What is due in that node by then happens; what ended is kept until it is handed on."""
        node = self._nodes[number]
        self._ended += node.advance(until_s)
        self._touched.add(number)
        if node.next_s < inf:
            self._next_s[number] = node.next_s
        else:
            self._next_s.pop(number, None)

    def _hand_on(self, wake: simpy.Event) -> None:
        """A moment is over: those whose copies ended in it are told, in a fixed order."""
        if wake is not self._wake:
            return
        self._wake = None
        if self._first_s() > self._wake_s:
            # What was awaited has been slowed down since.
            self._plan()
            return
        now_s = self._env.now
        for number in [number for number, next_s in self._next_s.items() if next_s <= now_s]:
            self._advance(number, now_s)
        ended, self._ended = sorted(self._ended, key=lambda copy: copy.key), []
        self._handing_on = True
        for copy in ended:
            copy.on_end(copy)
        self._handing_on = False
        self._settle()

    def _settle(self) -> None:
        """Tells of the rates that have changed, and plans what comes next."""
        touched, self._touched = sorted(self._touched), set()
        for number in touched:
            node = self._nodes[number]
            for replica in node.changed_rates():
                self._on_rate_change(replica, node.fluid.changed_s)
        self._plan()

    def _plan(self) -> None:
        """Wakes up at the end of the moment that begins with the first copy to end or begin to flow."""
        first_s = self._first_s()
        if first_s < inf and (self._wake is None or first_s < self._wake_s):
            self._wake_s = first_s
            self._wake = self._env.timeout(max(0.0, first_s + COMPLETION_MOMENT_S - self._env.now))
            self._wake.callbacks.append(self._hand_on)

    def _first_s(self) -> float:
        """When something is next due, or was and has not been handed on; infinite where there is nothing."""
        return min((*self._next_s.values(), *(copy.end_s for copy in self._ended)), default=inf)


class NodeCopies:
    """The copies of the replicas of one node, in logical time alone.

    next_s: when something is next due, the end of a set-up or of a copy. fluid: what flows now.
    """

    def __init__(self, fabric: Fabric, capacities: Sequence[float]) -> None:
        self.next_s = inf
        self.fluid = Fluid(capacities)
        self._fabric = fabric
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._next_key: Key = (-1, -1)
        self._waiting: dict[Key, deque[Copy]] = {}
        self._current: dict[Key, Copy] = {}
        self._ready_s: dict[Key, float] = {}
        self._free_s: dict[Key, float] = {}
        self._busy_since_s: dict[int, float] = {}
        self._busy_s: dict[int, float] = {}
        self._told: dict[int, float] = {}

    def add(self, copy: Copy) -> None:
        """The copy queues up at its ``ordered_s``; raises ValueError where nothing is copied between its tiers."""
        key = copy.key
        self._route(copy.replica, copy.source, copy.target)
        self._waiting.setdefault(key, deque()).append(copy)
        if key not in self._current:
            self._start(key)
            self._find_next()

    def advance(self, until_s: float) -> list[Copy]:
        """Makes happen what is due by then, in order of time, replica and queue; returns the copies that ended."""
        ended = []
        while self.next_s <= until_s:
            key = self._next_key
            if key in self._ready_s:
                self._flow(key)
            else:
                ended.append(self._end(key))
            self._find_next()
        return ended

    def hbm_bytes_per_s(self) -> dict[int, float]:
        """Rate in and out of HBM together, of each replica whose copies flow."""
        rates: dict[int, float] = {}
        for (replica, queue), rate in self.fluid.rates():
            if queue != BELOW_HBM:
                rates[replica] = rates.get(replica, 0.0) + rate
        return rates

    def changed_rates(self) -> list[int]:
        """The replicas whose rate in and out of HBM is another than at the last call, in order."""
        told, self._told = self._told, self.hbm_bytes_per_s()
        replicas = sorted(told.keys() | self._told.keys())
        return [replica for replica in replicas if told.get(replica) != self._told.get(replica)]

    def backlog_s(self, replica: int, source: int, target: int, now_s: float) -> float:
        """See Links."""
        key = (replica, queue_of(source, target))
        current = self._current.get(key)
        if current is None:
            return 0.0
        end_s = self.fluid.end_s(key)
        wait_s = self._ready_s[key] + self._flow_s(current) - now_s if end_s is None else end_s - now_s
        return max(0.0, wait_s) + sum(copy.setup_s + self._flow_s(copy) for copy in self._waiting[key])

    def busy_s(self, replica: int, at_s: float) -> float:
        """Seconds up to now in which the replica had a copy into or out of HBM."""
        since_s = self._busy_since_s.get(replica, at_s)
        return self._busy_s.get(replica, 0.0) + max(0.0, at_s - since_s)

    def _start(self, key: Key) -> None:
        """The first that waits in a queue begins its set-up, when it is ordered and the one before has ended."""
        copy = self._current[key] = self._waiting[key].popleft()
        copy.start_s = max(copy.ordered_s, self._free_s.get(key, 0.0))
        self._ready_s[key] = copy.start_s + copy.setup_s
        if key[1] != BELOW_HBM:
            self._busy_since_s.setdefault(copy.replica, copy.start_s)

    def _flow(self, key: Key) -> None:
        """A set-up is over."""
        copy = self._current[key]
        route = self._route(copy.replica, copy.source, copy.target)
        self.fluid.begin(key, route, copy.moved_bytes, self._ready_s.pop(key))

    def _end(self, key: Key) -> Copy:
        """A copy has arrived, and the next of its queue begins."""
        copy = self._current.pop(key)
        self.fluid.end(key)
        copy.end_s = self._free_s[key] = self.next_s
        if self._waiting[key]:
            self._start(key)
        elif not {(copy.replica, OUT_OF_HBM), (copy.replica, INTO_HBM)} & self._current.keys():
            since_s = self._busy_since_s.pop(copy.replica, copy.end_s)
            self._busy_s[copy.replica] = self._busy_s.get(copy.replica, 0.0) + copy.end_s - since_s
        return copy

    def _find_next(self) -> None:
        due = [(ready_s, key) for key, ready_s in self._ready_s.items()]
        end = self.fluid.next_end()
        if end is not None:
            due.append(end)
        self.next_s, self._next_key = min(due, default=(inf, (-1, -1)))

    def _flow_s(self, copy: Copy) -> float:
        """How long the bytes of a copy would flow at the rate it would have now in its queue."""
        route = self._route(copy.replica, copy.source, copy.target)
        return copy.moved_bytes / self.fluid.bytes_per_s_beside(copy.key, route)

    def _route(self, replica: int, source: int, target: int) -> Route:
        key = (replica, source, target)
        if key not in self._routes:
            self._routes[key] = self._fabric.route(*key)
        return self._routes[key]
