"""Laws of copies over shared links, on random orders: exact times, bytes, capacities, queues, nothing left idle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, zip_longest
from random import Random

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.cost.topology import DISK, HBM, HOST, Fabric, Node
from ctxsim.sim.jump import PLANNING_DELAY_S
from ctxsim.sim.links import Copy, Links

WAYS = [(HBM, HOST), (HOST, HBM), (HOST, DISK), (DISK, HBM)]


@dataclass(frozen=True)
class Order:
    """A copy to be ordered at a time."""

    at_s: float
    replica: int
    way: tuple[int, int]
    moved_bytes: float
    setup_s: float


@st.composite
def fabrics(draw: st.DrawFn) -> Fabric:
    """One or two nodes of four accelerators, any of their resources the tightest."""
    rates = st.sampled_from([3.0, 8.0, 10.0, 16.0, 25.0, 100.0])
    node = Node(4, draw(st.integers(1, 4)), *(draw(rates) for _ in range(5)))
    return Fabric(node, draw(st.integers(1, 4)), draw(st.integers(1, 5)))


@st.composite
def orders(draw: st.DrawFn, of: Fabric, setups: bool = True) -> list[Order]:
    """Orders in the order of their times; several at one time, and times that follow the ends of other copies."""
    times = sorted(draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 3.75, 4.0, 7.0]), min_size=1, max_size=9)))
    return [
        Order(
            at_s,
            draw(st.integers(0, of.replicas - 1)),
            draw(st.sampled_from(WAYS)),
            draw(st.sampled_from([0.0, 1.0, 4.0, 10.0, 12.5, 100 / 3])),
            draw(st.sampled_from([0.0, 0.0, 0.25, 1.0])) if setups else 0.0,
        )
        for at_s in times
    ]


@st.composite
def cases(draw: st.DrawFn, setups: bool = True) -> tuple[Fabric, list[Order]]:
    fabric = draw(fabrics())
    return fabric, draw(orders(fabric, setups))


class Served:
    """The orders served by Links: the copies as ordered and as they were told to end, and bytes at the times asked.

    lags_s: how far the clock of each order lies behind PLANNING_DELAY_S after its time.
    """

    def __init__(
        self, fabric: Fabric, wanted: list[Order], sampled_s: Sequence[float] = (), lags_s: Sequence[float] = ()
    ) -> None:
        env = simpy.Environment()
        self.told: list[Copy] = []
        self.rates: list[tuple[int, float]] = []
        self.links = Links(env, fabric, lambda replica, at_s: self.rates.append((replica, at_s)))
        self.moved: list[list[float]] = []
        self.copies = [Copy(o.replica, *o.way, o.moved_bytes, 1, o.setup_s, self.told.append) for o in wanted]
        for o, copy, lag_s in zip_longest(wanted, self.copies, lags_s):
            event = env.timeout(o.at_s if lag_s is None else o.at_s + PLANNING_DELAY_S)
            clock_s = o.at_s if lag_s is None else o.at_s + PLANNING_DELAY_S - lag_s
            event.callbacks.append(lambda _, copy=copy, at_s=clock_s: self.links.order(copy, at_s))
        for at_s in sampled_s:
            event = env.timeout(at_s)
            event.callbacks.append(lambda _, at_s=at_s: self.moved.append(self.links.moved_bytes(at_s)))
        env.run()

    @property
    def last_s(self) -> float:
        return max(copy.end_s for copy in self.copies)


# A second simulator, in fractions, that knows nothing of events: it asks of everything at every step


def queue(way: tuple[int, int]) -> str:
    return "out" if way[0] == HBM else "into" if way[1] == HBM else "below"


def exact_ends(fabric: Fabric, wanted: list[Order]) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each order, from first principles: all state is worked out anew between any two changes."""
    lanes: dict[tuple[int, str], list[int]] = {}
    for i, o in enumerate(wanted):
        lanes.setdefault((o.replica, queue(o.way)), []).append(i)
    left = [Fraction(o.moved_bytes) for o in wanted]
    start: list[Fraction | None] = [None] * len(wanted)
    end: list[Fraction | None] = [None] * len(wanted)
    now = Fraction(0)
    while None in end:
        flowing, coming = [], []
        for lane in lanes.values():
            free = Fraction(0)
            for i in lane:
                if end[i] is None:
                    began = max(free, Fraction(wanted[i].at_s))
                    ready = began + Fraction(wanted[i].setup_s)
                    if began <= now:
                        start[i] = began
                    if ready > now:
                        coming.append(ready)
                    elif left[i] == 0:
                        end[i] = now
                        coming.append(now)
                    else:
                        flowing.append(i)
                    break
                free = end[i]  # type: ignore[assignment]
        rates = exact_rates(fabric, [wanted[i] for i in flowing])
        until = min([*coming, *(now + left[i] / rate for i, rate in zip(flowing, rates, strict=True))])
        for i, rate in zip(flowing, rates, strict=True):
            left[i] -= rate * (until - now)
            if left[i] == 0:
                end[i] = until
        now = until
    return list(zip(start, end, strict=True))  # type: ignore[arg-type]


def exact_rates(fabric: Fabric, flowing: list[Order]) -> list[Fraction]:
    """Max-min fair rates: of all shares that a resource could give evenly, the least is the one it must give."""
    weights = [
        {r: Fraction(weight).limit_denominator(100) for r, weight in fabric.route(o.replica, *o.way)} for o in flowing
    ]
    rates: dict[int, Fraction] = {}
    while len(rates) < len(flowing):
        shares = []
        for r, capacity in enumerate(fabric.capacities):
            open_ = [i for i, w in enumerate(weights) if r in w and i not in rates]
            if open_:
                taken = sum((weights[i].get(r, Fraction(0)) * rate for i, rate in rates.items()), Fraction(0))
                shares.append(((Fraction(capacity) - taken) / sum(weights[i][r] for i in open_), open_))
        least = min(share for share, _ in shares)
        for share, open_ in shares:
            if share == least:
                rates.update(dict.fromkeys(open_, share))
    return [rates[i] for i in range(len(flowing))]


@given(cases())
def test_times_are_those_of_exact_arithmetic(case: tuple[Fabric, list[Order]]) -> None:
    fabric, wanted = case
    found = [(copy.start_s, copy.end_s) for copy in Served(fabric, wanted).copies]
    for (start_s, end_s), (start, end) in zip(found, exact_ends(fabric, wanted), strict=True):
        assert start_s == pytest.approx(float(start), rel=1e-12, abs=1e-12)
        assert end_s == pytest.approx(float(end), rel=1e-12, abs=1e-12)


@given(cases())
def test_all_bytes_pass_all_resources_of_their_routes(case: tuple[Fabric, list[Order]]) -> None:
    fabric, wanted = case
    served = Served(fabric, wanted)
    passed = [0.0] * len(fabric.capacities)
    for o in wanted:
        for resource, weight in fabric.route(o.replica, *o.way):
            passed[resource] += weight * o.moved_bytes
    assert served.links.moved_bytes(served.last_s) == pytest.approx(passed, rel=1e-12, abs=1e-12)
    assert sorted(served.told, key=id) == sorted(served.copies, key=id)


def changes_s(copies: list[Copy]) -> list[float]:
    """Every time at which a copy begins to flow or ends; times that differ in their last bits only are one."""
    times = sorted({0.0, *(c.start_s + c.setup_s for c in copies), *(c.end_s for c in copies)})
    return [times[0], *(b for a, b in pairwise(times) if b - a > 1e-6)]


@given(cases())
def test_no_resource_is_above_its_capacity_and_no_copy_waits_beside_a_free_one(
    case: tuple[Fabric, list[Order]],
) -> None:
    """Between two changes: what passed is at most capacity x time, and each copy that flows passes a full resource."""
    fabric, wanted = case
    times = changes_s(Served(fabric, wanted).copies)
    served = Served(fabric, wanted, times)
    for (begin, end), (before, after) in zip(pairwise(times), pairwise(served.moved), strict=True):
        used = [(b - a) / (end - begin) for a, b in zip(before, after, strict=True)]
        assert all(u <= capacity * (1 + 1e-6) for u, capacity in zip(used, fabric.capacities, strict=True))
        for copy in served.copies:
            if copy.start_s + copy.setup_s < begin + 1e-9 and end < copy.end_s + 1e-9:
                route = fabric.route(copy.replica, copy.source, copy.target)
                assert any(used[r] >= fabric.capacities[r] * (1 - 1e-6) for r, _ in route)


@given(cases())
def test_queues_keep_their_order_and_never_pause(case: tuple[Fabric, list[Order]]) -> None:
    fabric, wanted = case
    lanes: dict[tuple[int, str], list[Copy]] = {}
    for o, copy in zip(wanted, Served(fabric, wanted).copies, strict=True):
        assert copy.ordered_s == o.at_s <= copy.start_s <= copy.end_s
        lanes.setdefault((o.replica, queue(o.way)), []).append(copy)
    for lane in lanes.values():
        assert lane[0].start_s == lane[0].ordered_s
        for before, after in pairwise(lane):
            assert after.start_s == max(before.end_s, after.ordered_s)


@given(cases())
def test_busy_seconds_are_the_union_of_the_copies_of_hbm(case: tuple[Fabric, list[Order]]) -> None:
    fabric, wanted = case
    served = Served(fabric, wanted)
    for replica, busy_s in enumerate(served.links.replica_busy_s(served.last_s)):
        mine = [c for c in served.copies if c.replica == replica and HBM in (c.source, c.target)]
        union_s, until_s = 0.0, 0.0
        for copy in sorted(mine, key=lambda c: c.start_s):
            union_s += max(0.0, copy.end_s - max(copy.start_s, until_s))
            until_s = max(until_s, copy.end_s)
        assert busy_s == pytest.approx(union_s, rel=1e-9, abs=1e-9)


@given(cases())
def test_the_same_orders_give_the_same_bits(case: tuple[Fabric, list[Order]]) -> None:
    fabric, wanted = case
    once, again = Served(fabric, wanted), Served(fabric, wanted)
    assert [(c.start_s, c.end_s) for c in once.copies] == [(c.start_s, c.end_s) for c in again.copies]
    assert [once.copies.index(c) for c in once.told] == [again.copies.index(c) for c in again.told]
    assert once.rates == again.rates
    assert once.links.moved_bytes(once.last_s) == again.links.moved_bytes(again.last_s)


@given(cases(), st.randoms(use_true_random=False))
def test_which_queue_is_ordered_first_at_one_time_is_of_no_account(
    case: tuple[Fabric, list[Order]], random: Random
) -> None:
    fabric, wanted = case
    lanes = [(o.replica, queue(o.way)) for o in wanted]
    rank = {lane: random.random() for lane in sorted(set(lanes))}
    mixed = sorted(range(len(wanted)), key=lambda i: (wanted[i].at_s, rank[lanes[i]]))
    found = [copy.end_s for copy in Served(fabric, [wanted[i] for i in mixed]).copies]
    plain = [copy.end_s for copy in Served(fabric, wanted).copies]
    assert found == [plain[i] for i in mixed]


@given(cases(), st.lists(st.sampled_from([0.0, 3e-10, 1e-9, 2e-9]), min_size=9, max_size=9))
def test_clocks_that_lag_behind_the_environment_move_ends_no_further(
    case: tuple[Fabric, list[Order]], lags_s: list[float]
) -> None:
    """Orders of one time come with clocks that differ by less than the planning delay, the later ones first or not."""
    fabric, wanted = case
    lagging = Served(fabric, wanted, lags_s=lags_s[: len(wanted)])
    for copy, plain in zip(lagging.copies, Served(fabric, wanted).copies, strict=True):
        assert copy.end_s == pytest.approx(plain.end_s, abs=1e-7)
    lanes: dict[tuple[int, str], list[Copy]] = {}
    for copy in sorted(lagging.told, key=lambda c: c.end_s):
        lanes.setdefault((copy.replica, queue((copy.source, copy.target))), []).append(copy)
    assert all(before.end_s <= after.start_s for lane in lanes.values() for before, after in pairwise(lane))


def faster(fabric: Fabric, factor: float) -> Fabric:
    node = fabric.node
    rates = {name: getattr(node, name) * factor for name in Node.__slots__ if name.endswith("_bytes_per_s")}
    return replace(fabric, node=replace(node, **rates))


@given(cases(), st.sampled_from([0.125, 2.0, 3.0]))
def test_all_rates_times_c_and_all_times_over_c(case: tuple[Fabric, list[Order]], factor: float) -> None:
    fabric, wanted = case
    sooner = [replace(o, at_s=o.at_s / factor, setup_s=o.setup_s / factor) for o in wanted]
    found = [copy.end_s * factor for copy in Served(faster(fabric, factor), sooner).copies]
    assert found == pytest.approx([copy.end_s for copy in Served(fabric, wanted).copies], rel=1e-12, abs=1e-12)


@given(st.data(), st.floats(1.0, 5.0))
def test_a_faster_root_never_ends_the_last_copy_later(data: st.DataObject, factor: float) -> None:
    """Replicas share one root and nothing else binds; no set-ups."""
    slow = Fabric(Node(4, 4, 10.0, 1e6, 1e6, 1e6, 10.0), 4, 1)
    drawn = data.draw(orders(slow, setups=False))
    wanted = [replace(o, way=(HBM, HOST)) for o in drawn]
    assert Served(faster(slow, factor), wanted).last_s <= Served(slow, wanted).last_s * (1 + 1e-12)


def test_with_set_ups_a_faster_root_may_end_the_last_copy_later() -> None:
    """A copy that ends sooner lets the next one of its queue flow sooner, beside another that had been alone."""
    slow = Fabric(Node(4, 4, 10.0, 1e6, 1e6, 1e6, 10.0), 2, 1)
    out = (HBM, HOST)
    wanted = [
        Order(0.0, 1, out, 10.0, 0.0),
        Order(0.0, 1, out, 10.0, 1.0),
        Order(1.8, 0, out, 2.0, 0.0),
        Order(1.8, 0, out, 0.0, 10.0),
    ]
    assert Served(slow, wanted).last_s == pytest.approx(1.8 + 2 / 10 + 10)
    assert Served(faster(slow, 1.5), wanted).last_s == pytest.approx(1.8 + 2 / 7.5 + 10)


@given(st.data(), st.floats(1.0, 5.0))
def test_a_faster_machine_never_ends_a_lone_queue_later(data: st.DataObject, factor: float) -> None:
    slow = data.draw(fabrics())
    wanted = [replace(o, replica=0, way=(HOST, HBM)) for o in data.draw(orders(slow))]
    before, after = Served(slow, wanted).copies, Served(faster(slow, factor), wanted).copies
    assert all(b.end_s <= a.end_s * (1 + 1e-12) for a, b in zip(before, after, strict=True))
    lone_bytes_per_s = slow.lone_bytes_per_s(0, HOST, HBM)
    end_s = 0.0
    for o, copy in zip(wanted, before, strict=True):
        end_s = max(end_s, o.at_s) + o.setup_s + o.moved_bytes / lone_bytes_per_s
        assert copy.end_s == pytest.approx(end_s, rel=1e-12)
