"""KV over time: from rows to intervals, from intervals to means, from means to a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.cost import CostModel
from ctxsim.metrics.occupancy import RUN_NAMES, TRANSFER_NAMES, Occupancy, bin_means, occupancy, of_replica
from ctxsim.metrics.utilisation import run_s
from ctxsim.records import Table
from ctxsim.reporting.figures.memory import memory_figure, room_bytes, tier_means
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import load_scenario

SHORT = {"run.horizon": "20 min"}
TINY_HOST = {"serving.disk_kv_capacity": "1 TiB", "serving.host_kv_capacity": "64 GiB"}
# How far idle KV may be off on average: rows do not tell what a boundary both takes and gives (see occupancy).
CASES: dict[str, tuple[str, dict[str, Any], float]] = {
    "swap": ("yi-34b-50k-a100", SHORT, 0.01),
    "swap to disk": ("yi-34b-50k-a100", SHORT | TINY_HOST, 0.01),
    "inclusive": ("yi-34b-50k-a100", SHORT | {"serving.host_tier": "inclusive"}, 0.06),
    "recompute": ("yi-34b-50k-a100", SHORT | {"serving.residency": "recompute"}, 0.02),
    "keep": ("yi-34b-50k-a100", SHORT | {"serving.residency": "keep"}, 0.01),
    "two replicas": ("yi-34b-50k-a100", SHORT | {"deployment.replicas": 2}, 0.01),
    "replay": ("mooncake-replay", {"serving.enable_prefix_caching": True}, 0.001),
    "chat": ("llama-8b-chat", {"workload.num_requests": 100}, 0.0),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Simulation, float]:
    name, settings, error = CASES[request.param]
    return simulate(load_scenario(name, settings)), error


def of_all(simulation: Simulation) -> list[tuple[Table, Occupancy]]:
    """The runs of each replica, and its occupancy."""
    pool_bytes = CostModel(simulation.scenario).memory.kv_capacity_bytes
    parts = []
    for replica in np.unique(simulation.runs["replica"]):
        runs = of_replica(simulation.runs, int(replica), RUN_NAMES)
        copies = of_replica(simulation.transfers, int(replica), TRANSFER_NAMES)
        parts.append((runs, occupancy(runs, copies, pool_bytes)))
    return parts


def test_time_in_each_tier_is_what_the_replicas_tallied(case: tuple[Simulation, float]) -> None:
    """The replicas tally byte-seconds as they go; the rows must tell the same.

    After its last run no row says what stays on a replica: at most what was idle or being served when it ended.
    """
    simulation, error = case
    total, after = np.zeros(3), np.zeros(3)
    for _, kv in of_all(simulation):
        held_last = np.array([kv.idle_bytes[-1] + kv.served_end_bytes[-1], kv.host_bytes[-1], kv.disk_bytes[-1]])
        after += held_last * (simulation.summary["duration_s"] - kv.end_s[-1])
        lasts_s = kv.end_s - kv.start_s
        held = (kv.idle_bytes + kv.arriving_bytes, kv.host_bytes, kv.disk_bytes)
        total += [float(np.sum(lasts_s * tier)) for tier in held]
    tallied = np.array(list(simulation.summary["kv_tier_bytes"].values())) * simulation.summary["duration_s"]
    allowed = max(error, 1e-9)
    assert np.all(total * (1 - allowed) <= tallied)
    assert np.all(tallied <= (total + after) * (1 + allowed))


def test_intervals_follow_each_other_and_hold_what_runs_say(case: tuple[Simulation, float]) -> None:
    simulation, _ = case
    pool_bytes = CostModel(simulation.scenario).memory.kv_capacity_bytes
    for runs, kv in of_all(simulation):
        assert np.all(kv.end_s > kv.start_s)
        assert kv.start_s[1:] == pytest.approx(kv.end_s[:-1], abs=1e-8)
        for amount in (kv.served_start_bytes, kv.idle_bytes, kv.host_bytes, kv.disk_bytes, kv.arriving_bytes):
            assert np.all(amount >= 0)
        taken = np.maximum(kv.served_start_bytes, kv.served_end_bytes) + kv.idle_bytes
        assert np.all(taken <= pool_bytes * (1 + 1e-9))
        at = np.searchsorted(kv.start_s, runs["start_s"] + run_s(runs) / 2) - 1
        assert kv.served_start_bytes[at] == pytest.approx(runs["kv_start_bytes"] + kv.arriving_bytes[at])
        assert kv.host_bytes[at] == pytest.approx(runs["host_bytes"])
        assert kv.start_s[at] == pytest.approx(runs["start_s"], abs=1e-8)


def test_what_is_served_between_runs_is_what_awaits_its_copies() -> None:
    """A copy into HBM of 5 bytes, ordered at the end of the first run (10), ends at 13, when the second begins."""
    runs = rows(
        start_s=[0, 13], iterations=[1, 1], first_s=[10, 4], growth_s=[0, 0], kv_start_bytes=[8, 7],
        kv_end_bytes=[9, 7], kv_idle_bytes=[3, 6], host_bytes=[20, 15], disk_bytes=[1, 1],
    )  # fmt: skip
    copies = rows(
        ordered_s=[10], end_s=[13], source=[1], target=[0], moved_bytes=[5], kv_idle_bytes=[3],
        host_bytes=[15], disk_bytes=[1],
    )  # fmt: skip
    kv = occupancy(runs, copies)
    assert kv.start_s.tolist() == [0, 10, 13]
    assert kv.end_s.tolist() == [10, 13, 17]
    assert kv.arriving_bytes.tolist() == [0, 5, 0]
    assert kv.served_start_bytes.tolist() == [8, 7, 7]
    assert kv.served_end_bytes.tolist() == [9, 7, 7]
    # The room in host memory is handed on when the copy is ordered, not when it ends.
    assert kv.host_bytes.tolist() == [20, 15, 15]
    # What falls idle at the end of the last run (3 more) was not idle in it.
    assert kv.idle_bytes.tolist() == [0, 3, 3]


def test_what_arrives_during_a_run_is_served() -> None:
    """5 bytes on their way throughout, counted neither in what the run begins with nor in what it ends with."""
    runs = rows(
        start_s=[0], iterations=[1], first_s=[10], growth_s=[0], kv_start_bytes=[7], kv_end_bytes=[8],
        kv_idle_bytes=[9], host_bytes=[0], disk_bytes=[0],
    )  # fmt: skip
    copies = rows(
        ordered_s=[0, 0], end_s=[3, 6], source=[1, 1], target=[0, 0], moved_bytes=[2, 3], kv_idle_bytes=[7, 4],
        host_bytes=[0, 0], disk_bytes=[0, 0],
    )  # fmt: skip
    kv = occupancy(runs, copies)
    assert (kv.start_s.tolist(), kv.end_s.tolist()) == ([0], [10])
    assert kv.arriving_bytes.tolist() == [5]
    assert (kv.served_start_bytes.tolist(), kv.served_end_bytes.tolist()) == ([12], [13])


def test_a_replica_that_waits_holds_what_it_held() -> None:
    runs = rows(
        start_s=[0, 20], iterations=[2, 1], first_s=[4, 4], growth_s=[2, 0], kv_start_bytes=[8, 8],
        kv_end_bytes=[9, 8], kv_idle_bytes=[9, 4], host_bytes=[7, 6], disk_bytes=[0, 0],
    )  # fmt: skip
    none = rows(**{name: [] for name in TRANSFER_NAMES})
    kv = occupancy(runs, none)
    assert kv.start_s.tolist() == [0, 10, 20]
    assert kv.served_start_bytes.tolist() == [8, 0, 8]
    assert kv.idle_bytes.tolist() == [0, 9, 4]
    assert kv.host_bytes.tolist() == [7, 7, 6]
    # Together they never have more room than there is.
    assert occupancy(runs, none, 11.0).idle_bytes.tolist() == [0, 9, 3]


def test_an_eviction_under_way_is_still_idle_in_hbm() -> None:
    """9 bytes idle; 4 of them leave between 10 and 12, while nothing runs."""
    runs = rows(
        start_s=[0, 12], iterations=[1, 1], first_s=[10, 1], growth_s=[0, 0], kv_start_bytes=[1, 6],
        kv_end_bytes=[1, 6], kv_idle_bytes=[9, 5], host_bytes=[0, 4], disk_bytes=[0, 0],
    )  # fmt: skip
    copies = rows(
        ordered_s=[10], end_s=[12], source=[0], target=[1], moved_bytes=[4], kv_idle_bytes=[5],
        host_bytes=[4], disk_bytes=[0],
    )  # fmt: skip
    kv = occupancy(runs, copies)
    assert kv.start_s.tolist() == [0, 10, 12]
    assert kv.idle_bytes.tolist() == [0, 9, 5]
    assert kv.host_bytes.tolist() == [0, 4, 4]


def rows(**columns: list[float]) -> Table:
    return Table({name: np.array(values, dtype=float) for name, values in columns.items()})


def test_means_of_a_ramp_and_a_pause() -> None:
    """2 to 6 in [1, 3], nothing in [3, 4], 5 in [4, 6]."""
    starts, ends = np.array([1.0, 4.0]), np.array([3.0, 6.0])
    first, last = np.array([2.0, 5.0]), np.array([6.0, 5.0])
    found = bin_means(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0]), starts, ends, first, last)
    assert found == pytest.approx([0, 3, 5, 0, 5, 5 / 3])
    assert bin_means(np.array([1.5, 2.5]), starts, ends, first, last) == pytest.approx([4])


some = st.floats(0, 10)
lasting = st.one_of(st.just(0.0), st.floats(1e-9, 10))


@given(st.lists(st.tuples(some, lasting, some, some), min_size=1, max_size=8), st.integers(1, 9))
def test_means_add_up_whatever_the_bins(parts: list[tuple[float, float, float, float]], bins: int) -> None:
    start_s, end_s, first, last, at = [], [], [], [], 0.0
    for wait_s, length_s, one, other in parts:
        start_s.append(at + wait_s)
        at += wait_s + length_s
        end_s.append(at)
        first.append(one)
        last.append(other)
    edges = np.linspace(0, at + 1, bins + 1)
    means = bin_means(edges, np.array(start_s), np.array(end_s), np.array(first), np.array(last))
    total = sum((e - s) * (a + b) / 2 for s, e, a, b in zip(start_s, end_s, first, last, strict=True))
    assert np.sum(means * np.diff(edges)) == pytest.approx(total, abs=1e-9)


def test_the_figure_shows_tiers_against_their_room(case: tuple[Simulation, float]) -> None:
    simulation, _ = case
    figure = memory_figure(simulation)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    kept = simulation.summary["kv_tier_bytes"]
    below = {"KV in host memory": "host", "KV on disk": "disk"}
    assert titles[0] == "KV in HBM"
    assert titles[-1] == "requests waiting for admission"
    assert titles[1:-1] == [title for title, tier in below.items() if kept[tier]]
    room = room_bytes(simulation.scenario)
    for axes, tier in zip(figure.axes[:-1], ["hbm", *(below[title] for title in titles[1:-1])], strict=True):
        assert room[tier] in [line.get_ydata()[0] for line in axes.lines]
        assert axes.get_ylim()[1] >= room[tier]
    served, taken = (patch.get_data() for patch in figure.axes[0].patches)
    assert np.all(taken.values >= served.values)
    assert np.all(taken.values <= room["hbm"] * (1 + 1e-9))


def test_the_figure_adds_replicas_up_and_counts_who_waits(case: tuple[Simulation, float]) -> None:
    simulation, _ = case
    end_s = simulation.summary["duration_s"]
    means = tier_means(simulation, np.array([0.0, end_s]))
    used = simulation.summary["kv_used_ratio"]["mean"] * room_bytes(simulation.scenario)["hbm"]
    # The summary counts what is served in runs only; between them requests wait for their copies.
    assert used * 0.98 <= means["served"][0] <= used * 1.1 + 1
    assert means["host"][0] == pytest.approx(simulation.summary["kv_tier_bytes"]["host"], rel=0.01)
    waits = memory_figure(simulation).axes[-1].patches[0].get_data()
    mean = np.sum(waits.values * np.diff(waits.edges)) / (waits.edges[-1] - waits.edges[0])
    assert mean == pytest.approx(np.sum(simulation.requests["queue_s"]) / end_s, rel=1e-6, abs=1e-9)
