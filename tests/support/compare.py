"""Two simulations of one case: where they differ, and what happened in them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import isclose
from typing import Any, cast

from ctxsim.cost import CostModel
from ctxsim.metrics import gap_quantiles, work_done
from ctxsim.records import Table, run_columns, table
from ctxsim.sim.journal import Journal
from support.cases import Case, StubCost

RELATIVE = 1e-9
Event = tuple[str, int, float]

FEATURES = (
    "preemption", "preempted half-computed prompt", "window filled", "chunk boundary crossed", "run of prefill chunks",
    "law changed sides", "equal arrivals", "zero outputs", "one-token prompt", "two replicas",
    "closed loop without thinking", "cut by an arrival", "blocked by the pool", "rejected", "jump",
)  # fmt: skip


def run_table(cost: StubCost | CostModel, journal: Journal) -> Table:
    """The table of runs of a journal."""
    return table(run_columns(len(cost.spans)), journal.runs)


def differences(cost: StubCost | CostModel, ours: Journal, theirs: Journal) -> list[str]:
    """What two steppings disagree on: events and their order, times, work done, pauses between tokens."""
    found = _history_differences(ours, theirs)
    for what, value, other in zip(
        ("FLOP", "HBM bytes"),
        work_done(cast(CostModel, cost), run_table(cost, ours)),
        work_done(cast(CostModel, cost), run_table(cost, theirs)),
        strict=True,
    ):
        if not isclose(value, other, rel_tol=RELATIVE):
            found.append(f"{what}: {value} and {other}")
    gaps, others = (gap_quantiles(run_table(cost, j), [pause for _, pause in j.gaps_s]) for j in (ours, theirs))
    found += [f"pauses {name}: {gaps[name]} and {others[name]}" for name in gaps if not _near(gaps[name], others[name])]
    return found


def _near(value: float | None, other: float | None) -> bool:
    return value == other if value is None or other is None else isclose(value, other, rel_tol=RELATIVE)


def _history_differences(ours: Journal, theirs: Journal) -> list[str]:
    """Differences between two histories, replica by replica: across replicas only time orders events."""
    found = []
    if [d.index for d in ours.rejected] != [d.index for d in theirs.rejected]:
        found.append("rejected requests differ")
    histories, others = _histories(ours), _histories(theirs)
    if {k: len(h) for k, h in histories.items()} != {k: len(h) for k, h in others.items()}:
        found.append("replicas have different numbers of events")
    for replica in histories.keys() & others.keys():
        found += _first_difference(histories[replica], others[replica])
    return found


def _histories(journal: Journal) -> dict[int, list[Event]]:
    """The events of each replica in order; every request that is not rejected ends, on the replica it came to."""
    assert journal.history is not None
    replicas = {r.index: r.replica for r in journal.finished}
    histories: dict[int, list[Event]] = {}
    for event in journal.history:
        histories.setdefault(replicas[event[1]], []).append(event)
    return histories


def _first_difference(history: list[Event], other: list[Event]) -> list[str]:
    for mine, theirs in zip(history, other, strict=False):
        if mine[:2] != theirs[:2] or not isclose(mine[2], theirs[2], rel_tol=RELATIVE):
            return [f"{mine} and {theirs}"]
    return []


def features(case: Case, journal: Journal) -> Counter[str]:
    """Which of FEATURES a macro-stepped run of a case showed."""
    runs = run_table(case.cost, journal)
    requests = [(r.arrival_s, r.prompt_tokens, r.output_tokens) for r in journal.finished]
    seen = {
        "preemption": journal.preemptions > 0,
        "preempted half-computed prompt": _lost_half_prompts(journal),
        "run of prefill chunks": bool(((runs["sequences"] > runs["decoding"]) & (runs["iterations"] > 1)).any()),
        "law changed sides": _changes_sides(case, journal),
        "equal arrivals": len({arrival_s for arrival_s, _, _ in requests}) < len(requests),
        "zero outputs": any(outputs == 0 for _, _, outputs in requests),
        "one-token prompt": any(prompt == 1 for _, prompt, _ in requests),
        "two replicas": len({r.replica for r in journal.finished}) == 2,
        "closed loop without thinking": bool(case.users) and case.think_s == 0 and len(requests) > len(case.users),
        "cut by an arrival": bool(case.demands) and len(runs) > 1 and _arrivals_while_running(runs, requests),
        "blocked by the pool": bool(((runs["waiting"] > 0) & (runs["sequences"] < _seats(case))).any()),
        "rejected": bool(journal.rejected),
        "jump": bool((runs["iterations"] > 1).any()),
        **_bends(case, journal),
    }
    return Counter(name for name, happened in seen.items() if happened)


def _seats(case: Case) -> int:
    return case.scenario.serving.max_num_seqs


def _arrivals_while_running(runs: Table, requests: list[tuple[float, int, int]]) -> bool:
    """Whether a request came in the middle of a run: later than its start, and admitted at its end."""
    arrivals = {arrival_s for arrival_s, _, _ in requests}
    starts = sorted(float(t) for t in runs["start_s"])
    return any(start_s < arrival_s < end_s for start_s, end_s in pairwise(starts) for arrival_s in arrivals)


def _lost_half_prompts(journal: Journal) -> bool:
    """Whether some request was preempted before its first token."""
    first_tokens = {r.index: r.first_token_s for r in journal.finished}
    history: list[Any] = journal.history or []
    return any(event == "preempt" and time_s < first_tokens[index] for event, index, time_s in history)


def _changes_sides(case: Case, journal: Journal) -> bool:
    """Whether a run ended at a bend of the law: the next goes on with the same batch, where growth is another."""
    spans = len(case.cost.spans)
    rows = [row for row in journal.runs if row[0] == 0]
    return any(
        a[5:9] == b[5:9] and _goes_on(a, b, spans) and not isclose(a[4], b[4], rel_tol=RELATIVE)
        for a, b in pairwise(rows)
    )


def _goes_on(row: tuple[float, ...], after: tuple[float, ...], spans: int) -> bool:
    """Whether a row's pairs are those of the one before, grown evenly by its iterations, and grow on as before."""
    pairs, growth = row[12 : 12 + spans], row[12 + spans : 12 + 2 * spans]
    grown = tuple(p + row[2] * g for p, g in zip(pairs, growth, strict=True))
    return after[12 : 12 + 2 * spans] == (*grown, *growth)


def _bends(case: Case, journal: Journal) -> dict[str, bool]:
    """Whether a sequence grew beyond a window, or over a chunk border, while it decoded."""
    grown = [(r.prompt_tokens, r.largest_context) for r in journal.finished]
    windows = [s.tokens for s in case.cost.spans if s.kind in ("sliding", "topk")]
    chunks = [s.tokens for s in case.cost.spans if s.kind == "chunked"]
    return {
        "window filled": any(start < window < end for start, end in grown for window in windows),
        "chunk boundary crossed": any(start // chunk < end // chunk for start, end in grown for chunk in chunks),
    }
