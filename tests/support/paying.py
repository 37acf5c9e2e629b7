"""What the requests of a case paid, by column; and what they should have, run by run and without running sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import pi
from typing import cast

import numpy as np

from ctxsim.cost import CostModel, Rates, RooflineLaw
from ctxsim.cost.money import replica_usd_per_s
from ctxsim.geometry import Span
from ctxsim.metrics import charge_runs, groups_of
from ctxsim.metrics.split import split_runs
from ctxsim.records import MONEY_COLUMNS, Table, sorted_by
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.paid import with_costs
from support.cases import Case

COLUMNS = tuple(column.name for column in MONEY_COLUMNS)


def priced(case: Case) -> CostModel:
    """The costs of a case, at the prices of its scenario."""
    return cast(CostModel, replace(case.cost, scenario=case.scenario))


def paid(case: Case, cluster: Cluster) -> dict[str, np.ndarray]:
    """Each column of money, in the order of the requests' numbers, of a cluster that has run."""
    journal = cluster.journal
    requests = sorted_by(journal.requests, "request")
    groups = list(groups_of(case.scenario, [priced(case)], journal.runs))
    number = 1 + int(np.max(requests["request"], initial=-1))
    found = with_costs(requests, charge_runs(groups, journal.runs, journal.presence, number), cluster.charges)
    return {name: found[name] for name in COLUMNS}


def run_by_run(case: Case, cluster: Cluster) -> tuple[np.ndarray, np.ndarray]:
    """USD of every finished request for prompts and for answers: each run is divided among those who were in it."""
    cost, journal = priced(case), cluster.journal
    runs, chunks, stays = (rows.table() for rows in (journal.runs, journal.chunks, journal.stays))
    split, usd_per_s = split_runs(cost, runs), replica_usd_per_s(case.scenario)
    index = np.sort(journal.requests["request"])
    prefill_usd, decode_usd = np.zeros(index[-1] + 1), np.zeros(index[-1] + 1)
    numbers, steps = _numbered(runs)
    for i, (number, step) in enumerate(zip(numbers, steps, strict=True)):
        slopes = [(float(slope.per_pair_s[i]), float(slope.per_touched_s[i])) for slope in split.slopes]
        there = runs["replica"][i] == chunks["replica"]
        who = np.flatnonzero(there & (chunks["run"] == number))
        news, pasts = chunks["new_tokens"][who], chunks["past_tokens"][who]
        own_s = [_own_s(cost.spans, int(n), int(p), runs["iterations"][i], slopes) for n, p in zip(news, pasts, strict=True)]  # fmt: skip  # noqa: E501
        _divide(prefill_usd, chunks["request"][who], own_s, news, float(split.prefill.seconds[i]))
        there = runs["replica"][i] == stays["replica"]
        who = np.flatnonzero(there & (stays["first_run"] <= number) & (number < stays["end_run"]))
        if runs["decoding"][i]:
            assert len(who) == runs["decoding"][i]
            stored = stays["step_0_tokens"][who] + step
            # A token's pairs are half a one fewer than it touches where it touches ever more: that half goes evenly.
            both = [(0.0, per_pair_s + per_touched_s) for per_pair_s, per_touched_s in slopes]
            own_s = [_own_s(cost.spans, 1, int(p), runs["iterations"][i], both) for p in stored]
            _divide(decode_usd, stays["request"][who], own_s, np.ones(len(who)), float(split.decode.seconds[i]))
    return usd_per_s * prefill_usd[index], usd_per_s * decode_usd[index]


def _own_s(spans: Sequence[Span], new: int, past: int, iterations: int, slopes: Sequence[tuple[float, float]]) -> float:
    """What a sequence adds to the kernels of a run: iteration by iteration, on average."""
    seconds = 0.0
    for span, (per_pair_s, per_touched_s) in zip(spans, slopes, strict=True):
        extent = span.extent(new, past)
        for k in range(iterations):
            seconds += per_pair_s * (extent.pairs + k * extent.pairs_growth)
            seconds += per_touched_s * (extent.touched + k * extent.touched_growth)
    return seconds / iterations


def _numbered(runs: Table) -> tuple[np.ndarray, np.ndarray]:
    """Of each run, its number on its replica and the steps before it."""
    numbers, steps = np.zeros(len(runs), int), np.zeros(len(runs), int)
    for replica in np.unique(runs["replica"]):
        rows = np.flatnonzero(runs["replica"] == replica)
        taken = runs["iterations"][rows] * (runs["decoding"][rows] > 0)
        numbers[rows], steps[rows] = np.arange(len(rows)), np.cumsum(taken) - taken
    return numbers, steps


def _divide(seconds: np.ndarray, requests: np.ndarray, own_s: Sequence[float], by: np.ndarray, all_s: float) -> None:
    """To each its own, and a part of the rest."""
    rest_s = all_s - sum(own_s)
    for request, mine_s, part in zip(requests, own_s, by, strict=True):
        seconds[request] += mine_s + rest_s * part / np.sum(by)


def untied(case: Case) -> Case:
    """The same with another HBM bandwidth: no operation is ever bound by FLOP and bytes at once.

    Where one is, it may be divided as either, and only the law of a run knows which of them it comes from.
    """
    rates = Rates(1.0, 1.0, pi / 3, None)
    law = RooflineLaw(case.cost.operations, rates, 0.0)
    return replace(case, cost=replace(case.cost, rates=rates, law=law))
