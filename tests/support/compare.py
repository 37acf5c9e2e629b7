"""Two simulations of one case: where they differ, and what happened in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isclose
from typing import Any, cast

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.metrics import gap_quantiles, work_done
from ctxsim.records import REQUEST_COLUMNS, TRANSFER_COLUMNS, Column, Table
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal
from support.cases import Case, StubCost

RELATIVE = 1e-9
ROUNDING = 1e-9
Event = tuple[str, int, float]
RESTING = ("idle_s", "copy_wait_s", "idle_byte_s")

FEATURES = (
    "preemption", "preempted half-computed prompt", "window filled", "chunk boundary crossed", "run of prefill chunks",
    "law changed sides", "equal arrivals", "zero outputs", "one-token prompt", "two replicas",
    "closed loop without thinking", "cut by an arrival", "blocked by the pool", "rejected", "jump",
)  # fmt: skip


def differences(
    cost: StubCost | CostModel, ours: Journal, theirs: Journal, one_queue: bool = False
) -> list[str]:  # fmt: skip
    """What two steppings disagree on: events and their order, times, copies, work done, pauses between tokens.

    one_queue: replicas take from one queue, so that a preempted request may go on elsewhere.
    """
    found = _history_differences(ours, theirs, one_queue)
    found += _request_differences(ours, theirs) + _copy_differences(ours, theirs)
    for what, value, other in zip(
        ("FLOP", "HBM bytes"),
        work_done(cast(CostModel, cost), ours.runs),
        work_done(cast(CostModel, cost), theirs.runs),
        strict=True,
    ):
        if not isclose(value, other, rel_tol=RELATIVE):
            found.append(f"{what}: {value} and {other}")
    gaps, others = (gap_quantiles(j.runs, j.gaps["pause_s"]) for j in (ours, theirs))
    found += [f"pauses {name}: {gaps[name]} and {others[name]}" for name in gaps if not _near(gaps[name], others[name])]
    return found


def account_differences(ours: Cluster, theirs: Cluster) -> list[str]:
    """What the accounts of two steppings disagree on: costs of gaps, their bound, time of links, KV below HBM, and
    what is told of times in which nothing is computed.

    HBM held idle beside runs is not compared: it is told at their ends only, and taken to change evenly in between.
    """
    costs, others = ours.gap_costs(), theirs.gap_costs()
    pairs = [
        (name, costs[name], others[name])
        for name in ("gaps", "recompute_usd", "bound_usd", "hold_host_usd", "hold_disk_usd")
    ]
    pairs.append(("link_busy_s", ours.link_busy_s(), theirs.link_busy_s()))
    found = [f"{name}: {mine} and {their}" for name, mine, their in pairs if not _near(mine, their)]
    for mine, their in zip(ours.upkeep(), theirs.upkeep(), strict=True):
        if not all(_close(getattr(mine, name), getattr(their, name)) for name in RESTING):
            found.append(f"while nothing is computed: {mine} and {their}")
    return found


def _close(value: float, other: float) -> bool:
    """Sums over a whole run, of which each addend may be off by rounding."""
    return isclose(value, other, rel_tol=RELATIVE, abs_tol=ROUNDING)


def _near(value: float | None, other: float | None) -> bool:
    return value == other if value is None or other is None else isclose(value, other, rel_tol=RELATIVE)


def _request_differences(ours: Journal, theirs: Journal) -> list[str]:
    """Rows of requests, by number: tokens found in each tier, preemptions, times."""
    tables = [j.requests.table() for j in (ours, theirs)]
    orders = [np.argsort(t["request"]) for t in tables]
    return _column_differences(
        "request", REQUEST_COLUMNS, *({c: t[c][o] for c in t.names} for t, o in zip(tables, orders, strict=True))
    )


def _copy_differences(ours: Journal, theirs: Journal) -> list[str]:
    """Copies of every replica and queue in order, what they moved and what was held after each."""
    tables = [j.transfers.table() for j in (ours, theirs)]
    orders = [np.lexsort((np.arange(len(t)), t["target"], t["source"], t["replica"])) for t in tables]
    columns = [c for c in TRANSFER_COLUMNS if c.name != "transfer"]
    return _column_differences(
        "copy", columns, *({c: t[c][o] for c in t.names} for t, o in zip(tables, orders, strict=True))
    )


def _column_differences(
    what: str, columns: Sequence[Column], ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> list[str]:
    """Whole numbers must be equal; the rest to rounding of the times that were added up and taken from each other."""
    if any(len(ours[c.name]) != len(theirs[c.name]) for c in columns):
        return [f"{what}: {len(ours[columns[0].name])} and {len(theirs[columns[0].name])} rows"]
    found = []
    for name, dtype, _ in columns:
        mine, others = ours[name], theirs[name]
        if dtype == "int64" and not np.array_equal(mine, others):
            found.append(f"{what}: {name} differs")
        elif dtype == "float64" and not np.allclose(mine, others, rtol=RELATIVE, atol=ROUNDING, equal_nan=True):
            found.append(f"{what}: {name} differs by {np.nanmax(np.abs(mine - others))}")
    return found


def _history_differences(ours: Journal, theirs: Journal, one_queue: bool) -> list[str]:
    """Differences between two histories, replica by replica: across replicas only time orders events."""
    found = []
    if [d.index for d in ours.rejected] != [d.index for d in theirs.rejected]:
        found.append("rejected requests differ")
    histories, others = _histories(ours, one_queue), _histories(theirs, one_queue)
    if {k: len(h) for k, h in histories.items()} != {k: len(h) for k, h in others.items()}:
        found.append("replicas have different numbers of events")
    for replica in histories.keys() & others.keys():
        found += _first_difference(histories[replica], others[replica])
    return found


def _histories(journal: Journal, one_queue: bool) -> dict[int, list[Event]]:
    """The events of each replica in order, or of each request where these move; every one that is not rejected ends."""
    assert journal.history is not None
    replicas = {r.index: r.index if one_queue else r.replica for r in journal.finished}
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
    runs = journal.runs.table()
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
    runs = journal.runs.table()
    mine = np.flatnonzero(runs["replica"] == 0)
    same = ("sequences", "decoding", "new_tokens", "decode_tokens")
    return any(
        all(runs[name][a] == runs[name][b] for name in same)
        and all(_goes_on(runs, int(a), int(b), span) for span in range(len(case.cost.spans)))
        and not isclose(runs["growth_s"][a], runs["growth_s"][b], rel_tol=RELATIVE)
        for a, b in pairwise(mine)
    )


def _goes_on(runs: Table, row: int, after: int, span: int) -> bool:
    """Whether the pairs of a kernel are those of the run before, grown evenly by its iterations, and grow on so."""
    pairs, growth = runs[f"pairs_{span}"], runs[f"pairs_growth_{span}"]
    grown = pairs[row] + runs["iterations"][row] * growth[row]
    return bool(pairs[after] == grown and growth[after] == growth[row])


def _bends(case: Case, journal: Journal) -> dict[str, bool]:
    """Whether a sequence grew beyond a window, or over a chunk border, while it decoded."""
    grown = [(r.prompt_tokens, r.largest_context) for r in journal.finished]
    windows = [s.tokens for s in case.cost.spans if s.kind in ("sliding", "topk")]
    chunks = [s.tokens for s in case.cost.spans if s.kind == "chunked"]
    return {
        "window filled": any(start < window < end for start, end in grown for window in windows),
        "chunk boundary crossed": any(start // chunk < end // chunk for start, end in grown for chunk in chunks),
    }
