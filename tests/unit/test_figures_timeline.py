"""Sessions over time: phases of turns, where KV lay between them, and how both are drawn."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest

from ctxsim.metrics.phases import PHASES, phase_borders_s
from ctxsim.metrics.whereabouts import (
    DROPPED,
    HIT_NAMES,
    IN_HBM,
    IN_HOST,
    ON_DISK,
    PLACES,
    Span,
    first_sessions,
    session_spans,
)
from ctxsim.records import REQUEST_COLUMNS, TRANSFER_COLUMNS, Table
from ctxsim.reporting.figures.timeline import COLORS, timeline_figure
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import load_scenario

SHORT = {"run.horizon": "15 min"}
TINY_HOST = {"serving.disk_kv_capacity": "1 TiB", "serving.host_kv_capacity": "64 GiB"}
POLICIES: dict[str, dict[str, Any]] = {
    "swap": SHORT,
    "swap to disk": SHORT | TINY_HOST,
    "inclusive": SHORT | {"serving.host_tier": "inclusive"},
    "recompute": SHORT | {"serving.residency": "recompute"},
    "keep": SHORT | {"serving.residency": "keep"},
    "two replicas": SHORT | {"deployment.replicas": 2},
}


@pytest.fixture(scope="module")
def simulations() -> dict[str, Simulation]:
    return {name: simulate(load_scenario("yi-34b-50k-a100", settings)) for name, settings in POLICIES.items()}


def turns_of(*rows: dict[str, float]) -> Table:
    """Turns with what is given; the rest is 0."""
    columns = {c.name: np.array([row.get(c.name, 0) for row in rows], dtype=c.dtype) for c in REQUEST_COLUMNS}
    return Table(columns)


def copies_of(*rows: tuple[int, int, int, int, float]) -> Table:
    """Copies by session, source, target, tokens and end."""
    names = ("session", "source", "target", "tokens", "end_s")
    columns = {c.name: np.zeros(len(rows), c.dtype) for c in TRANSFER_COLUMNS}
    columns |= {name: np.array([row[i] for row in rows], columns[name].dtype) for i, name in enumerate(names)}
    return Table(columns)


FIRST = {"session": 4, "admitted_s": 1.0, "first_token_s": 3.0, "finished_s": 10.0}
SECOND = {
    "session": 4, "turn": 1, "arrival_s": 50.0, "admitted_s": 52.0, "first_token_s": 53.0, "finished_s": 60.0,
    "reusable_tokens": 100,
}  # fmt: skip
OUT, DOWN = (4, 0, 1, 100, 20.0), (4, 1, 2, 100, 30.0)


def gap_between(second: dict[str, float], *copies: tuple[int, int, int, int, float], inclusive: bool = False) -> Any:
    """Where KV lay between the two turns: what, from, until, and whether that is certain."""
    spans = session_spans(turns_of(FIRST, SECOND | second), copies_of(*copies), inclusive)
    return [(s.what, s.start_s, s.end_s, s.certain) for s in spans if s.what in PLACES]


def test_phases_of_a_request() -> None:
    row = {"arrival_s": 1, "admitted_s": 2, "fetch_s": 3, "first_token_s": 9, "finished_s": 12, "host_hit_tokens": 1}
    assert phase_borders_s(turns_of(row)).tolist() == [[1, 2, 5, 9, 12]]
    assert phase_borders_s(turns_of(row | {"host_hit_tokens": 0})).tolist() == [[1, 2, 2, 9, 12]]
    assert phase_borders_s(turns_of(row | {"fetch_s": 30})).tolist() == [[1, 2, 9, 9, 12]]


def test_kept_in_hbm() -> None:
    assert gap_between({"hbm_hit_tokens": 96}) == [(IN_HBM, 10, 50, True)]
    assert gap_between({"hbm_hit_tokens": 96}, OUT, inclusive=True) == [(IN_HBM, 10, 50, True)]


def test_swapped_out_when_most_of_it_was_copied() -> None:
    assert gap_between({"host_hit_tokens": 96}, OUT) == [(IN_HBM, 10, 20, True), (IN_HOST, 20, 50, True)]
    pieces = ((4, 0, 1, 30, 15.0), (4, 0, 1, 30, 25.0), (4, 0, 1, 40, 35.0))
    assert gap_between({"host_hit_tokens": 96}, *pieces) == [(IN_HBM, 10, 25, True), (IN_HOST, 25, 50, True)]


def test_copies_of_others_and_of_other_gaps_do_not_count() -> None:
    others = ((5, 0, 1, 100, 20.0), (4, 0, 1, 100, 9.0), (4, 0, 1, 100, 52.5), (4, 1, 0, 100, 20.0))
    assert gap_between({"host_hit_tokens": 96}, *others) == [(IN_HOST, 10, 50, False)]


def test_swapped_out_only_while_the_next_turn_waited() -> None:
    assert gap_between({"host_hit_tokens": 96}, (4, 0, 1, 100, 51.0)) == [(IN_HBM, 10, 50, True)]


def test_moved_on_to_disk() -> None:
    in_time = [(IN_HBM, 10, 20, True), (IN_HOST, 20, 30, True), (ON_DISK, 30, 50, True)]
    assert gap_between({"disk_hit_tokens": 96}, OUT, DOWN) == in_time
    assert gap_between({"disk_hit_tokens": 96}, OUT) == [(IN_HBM, 10, 20, True), (ON_DISK, 20, 50, False)]
    assert gap_between({"disk_hit_tokens": 96}) == [(ON_DISK, 10, 50, False)]


def test_dropped_is_never_certain() -> None:
    assert gap_between({}) == [(DROPPED, 10, 50, False)]
    assert gap_between({}, OUT) == [(IN_HBM, 10, 20, True), (DROPPED, 20, 50, False)]


def test_most_of_it_decides_where_it_was() -> None:
    assert gap_between({"hbm_hit_tokens": 30, "host_hit_tokens": 60})[-1][0] == IN_HOST
    assert gap_between({"hbm_hit_tokens": 30})[-1][0] == DROPPED


def test_write_through_leaves_hbm_as_it_was() -> None:
    assert gap_between({"host_hit_tokens": 96}, OUT, inclusive=True) == [
        (IN_HBM, 10, 20, True),
        (IN_HOST, 20, 50, False),
    ]


def test_the_first_sessions_are_those_that_came_first() -> None:
    rows = [(3, 1, 9.0), (8, 0, 2.0), (3, 0, 1.0), (5, 0, 0.5), (8, 1, 3.0)]
    turns = turns_of(*({"session": s, "turn": t, "arrival_s": a} for s, t, a in rows))
    found = first_sessions(turns, 2)
    assert list(zip(found["session"].tolist(), found["turn"].tolist(), strict=True)) == [(5, 0), (3, 0), (3, 1)]
    assert len(first_sessions(turns, 9)) == 5


def spans_of(simulation: Simulation, sessions: int = 10**9) -> tuple[Table, list[Span]]:
    turns = first_sessions(simulation.requests, sessions)
    inclusive = simulation.scenario.serving.host_tier == "inclusive"
    return turns, list(session_spans(turns, simulation.transfers, inclusive))


@pytest.mark.parametrize("policy", POLICIES)
def test_spans_fill_the_life_of_every_session(policy: str, simulations: dict[str, Simulation]) -> None:
    turns, spans = spans_of(simulations[policy])
    lives = {session: list(mine) for session, mine in groupby(spans, key=lambda span: span.session)}
    assert set(lives) == set(turns["session"].tolist())
    for session, life in lives.items():
        mine = turns["session"] == session
        assert life[0].start_s == turns["arrival_s"][mine].min()
        assert life[-1].end_s == turns["finished_s"][mine].max()
        assert all(one.end_s == pytest.approx(other.start_s, abs=1e-9) for one, other in pairwise(life))
        assert all(span.end_s > span.start_s for span in life)


@pytest.mark.parametrize("policy", POLICIES)
def test_kv_was_where_the_next_turn_found_it(policy: str, simulations: dict[str, Simulation]) -> None:
    """The last place before each later turn has most of its hits; the phase after it swaps in if that is below HBM."""
    turns, spans = spans_of(simulations[policy])
    arrivals = {(s, a): i for i, (s, a) in enumerate(zip(turns["session"], turns["arrival_s"], strict=True))}
    checked = 0
    for span in spans:
        if span.what in PLACES and (i := arrivals.get((span.session, span.end_s))) is not None:
            hits = [int(turns[name][i]) for name in HIT_NAMES]
            hits.append(int(turns["reusable_tokens"][i]) - sum(hits))
            place, found = PLACES.index(span.what), int(np.argmax(hits))
            # It may go down while the turn is queued.
            assert place == found or (place < found and turns["queue_s"][i] > 0)
            checked += 1
    assert checked == np.count_nonzero(turns["turn"])


def test_each_policy_does_what_it_is_called(simulations: dict[str, Simulation]) -> None:
    lay: dict[str, dict[str, float]] = {}
    for policy, simulation in simulations.items():
        _, spans = spans_of(simulation)
        lay[policy] = {place: sum(s.end_s - s.start_s for s in spans if s.what == place) for place in PLACES}
        uncertain = {s.what for s in spans if not s.certain}
        assert uncertain <= ({IN_HOST, DROPPED} if policy == "inclusive" else {DROPPED})
    for policy, places in {
        "keep": {IN_HBM},
        "recompute": {IN_HBM, DROPPED},
        "swap": {IN_HBM, IN_HOST},
        "swap to disk": {IN_HBM, IN_HOST, ON_DISK},
    }.items():
        assert {place for place, seconds in lay[policy].items() if seconds} <= places
        assert lay[policy][{"keep": IN_HBM, "recompute": DROPPED, "swap": IN_HOST, "swap to disk": ON_DISK}[policy]] > 0


def test_swapped_out_time_is_what_host_memory_held(simulations: dict[str, Simulation]) -> None:
    """Sessions' time in host memory and queued thereafter, against the bytes that lay there."""
    simulation = simulations["swap"]
    turns, spans = spans_of(simulation)
    thought_s = sum(span.end_s - span.start_s for span in spans if span.what == IN_HOST)
    queued_s = float(np.sum(turns["queue_s"][turns["host_hit_tokens"] > 0]))
    held = simulation.summary["kv_tier_bytes"]["host"] * simulation.summary["duration_s"]
    out = simulation.transfers["source"] == 0
    each_bytes = float(np.mean(simulation.transfers["moved_bytes"][out]))
    # A copy has its room from the moment it is ordered, and hands it on when the turn is admitted.
    took = simulation.transfers["end_s"] - simulation.transfers["ordered_s"]
    assert (thought_s + queued_s + float(np.sum(took[out]))) * each_bytes == pytest.approx(held, rel=0.02)


def test_the_figure_has_a_row_a_session_and_a_bar_a_span(simulations: dict[str, Simulation]) -> None:
    turns, spans = spans_of(simulations["swap to disk"], 7)
    figure = timeline_figure(turns, spans)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(s) for s in range(7)]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(keys) == len({span.what for span in spans})
    assert "KV on disk" in keys
    low, high = axes.get_xlim()
    drawn = []
    for bars in axes.collections:
        for (left, bottom), (right, top) in (path.vertices[[0, 2]] for path in bars.get_paths()):
            drawn.append((left, right, bars.get_label(), (bottom + top) / 2))
            assert low <= left < right <= high * (1 + 1e-9)
    assert sorted(drawn) == sorted((s.start_s, s.end_s, s.what, float(s.session)) for s in spans)


def test_what_is_uncertain_is_pale() -> None:
    spans = [Span(0, 0, 4, "prefill"), Span(0, 4, 9, IN_HOST, certain=False), Span(0, 9, 12, IN_HOST)]
    turns = turns_of({"arrival_s": 0, "finished_s": 4}, {"arrival_s": 12, "finished_s": 12})
    axes = timeline_figure(turns, spans).axes[0]
    shown = {bars.get_paths()[0].vertices[0, 0]: bars.get_alpha() for bars in axes.collections if bars.get_paths()}
    assert shown[0] == shown[9] == 1
    assert shown[4] < 0.5


def test_every_phase_and_place_has_a_colour_of_its_own() -> None:
    assert set(COLORS) == {*PHASES, *PLACES}
    assert len(set(COLORS.values())) == len(COLORS)
