"""Summaries from rows, against the same quantities worked out from every iteration and request."""

from __future__ import annotations

from random import Random
from typing import cast

import numpy as np
import pytest
from support.cases import Case, random_case
from support.real import closed_requests

from ctxsim.cost import CostModel
from ctxsim.geometry import BatchTotals
from ctxsim.metrics import (
    DEFINITIONS,
    History,
    Upkeep,
    describe,
    good_requests,
    kv_used,
    peak_compute_s,
    summarise,
    work_done,
)
from ctxsim.metrics.split import BusyTime
from ctxsim.records import (
    GAP_COLUMNS,
    MONEY_COLUMNS,
    REQUEST_COLUMNS,
    RUN_COLUMNS,
    TRANSFER_COLUMNS,
    Column,
    Records,
    Rows,
    Table,
    simulated_run_columns,
    table,
)
from ctxsim.sim import simulate
from ctxsim.spec.scenario import Scenario, load_scenario

HELD = ("iterations", "first_s", "growth_s", "kv_start_bytes", "kv_end_bytes")


def test_describe() -> None:
    found = describe(np.arange(1.0, 102.0))
    assert found == {"mean": 51.0, "p50": 51.0, "p90": 91.0, "p95": 96.0, "p99": 100.0}


def test_describe_nothing() -> None:
    assert describe(np.array([])) == {"mean": None, "p50": None, "p90": None, "p95": None, "p99": None}


def held(*rows: tuple[float, ...]) -> Table:
    """Runs with only what the use of the pool needs."""
    columns = [c for name in HELD for c in RUN_COLUMNS if c.name == name]
    return table(columns, rows)


def test_kv_used_is_weighted_by_time() -> None:
    """Half of the pool for 2 s, then a growing quarter to three quarters for 4 s, then nothing for 4 s, of two."""
    runs = held((2, 1.0, 0.0, 50.0, 50.0), (4, 1.0, 0.0, 25.0, 75.0))
    found = kv_used(runs, 100.0, 2, 10.0)
    assert found == {"mean": pytest.approx((0.5 * 2 + 0.5 * 4) / 10 / 2), "peak": 0.75}


def test_kv_used_of_no_runs() -> None:
    assert kv_used(held(), 100.0, 1, 0.0) == {"mean": 0.0, "peak": 0.0}


def in_parts(records: Records, columns: tuple[Column, ...], part_rows: int) -> Rows:
    """The same rows in parts of so many."""
    rows = Rows(columns, part_rows=part_rows)
    for row in zip(*(records.column(name).tolist() for name in records.names), strict=True):
        rows.append(row)
    return rows


def totals_of(runs: Table, spans: int, i: int, k: int) -> BatchTotals:
    """The batch of the k-th iteration of run i."""

    def per_span(name: str, growth: str) -> list[float]:
        return [float(runs[f"{name}_{j}"][i] + k * runs[f"{growth}_{j}"][i]) for j in range(spans)]

    zeros = [0.0] * spans
    return BatchTotals(
        int(runs["sequences"][i]),
        int(runs["new_tokens"][i]),
        int(runs["decode_tokens"][i]),
        per_span("pairs", "pairs_growth"),
        zeros,
        per_span("touched_tokens", "touched_growth_tokens"),
        zeros,
    )


def check_work(case: Case) -> None:
    cost = cast(CostModel, case.cost)
    runs, spans = case.run().runs, len(case.cost.spans)
    whole = runs.table()
    batches = [totals_of(whole, spans, i, k) for i in range(len(whole)) for k in range(int(whole["iterations"][i]))]
    expected = (sum(case.cost.flop(b) for b in batches), sum(case.cost.hbm_bytes(b) for b in batches))
    peak_s = sum(op.flop(b) / op.flop_per_s for b in batches for op in case.cost.operations)
    for found in (runs, in_parts(whole, simulated_run_columns(spans), 3)):
        assert work_done(cost, found) == pytest.approx(expected, rel=1e-9)
        assert peak_compute_s(cost, found) == pytest.approx(peak_s, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_work_done_is_the_sum_over_iterations(seed: int) -> None:
    check_work(random_case(Random(seed)))


def test_good_requests_meet_every_slo_given() -> None:
    """A request without a time per output token cannot miss that one."""
    requests = Table({"ttft_s": np.array([1.0, 3.0, 1.0, 1.0]), "tpot_s": np.array([0.1, 0.1, 0.3, np.nan])})
    both = closed_requests("llama-3.1-8b", slo={"ttft": "2 s", "tpot": "200 ms"})
    only_ttft = closed_requests("llama-3.1-8b", slo={"ttft": "2 s"})
    assert list(good_requests(both, requests)) == [True, False, False, True]
    assert list(good_requests(only_ttft, requests)) == [True, False, True, True]


def test_mfu_counts_each_number_format_at_its_own_peak() -> None:
    """In bf16 it is FLOP / (peak x time); with fp8 weights the same work takes half the peak time, never over 1."""
    prompts = {"workload.output_tokens": 0, "workload.num_requests": 40, "workload.arrival.rate": "1000 /s"}
    base = {"hardware": "h100-80gb-sxm", **prompts}
    bf16, fp8 = (
        simulate(load_scenario("llama-8b-chat", base | {"serving.weight_dtype": dtype})) for dtype in ("bf16", "fp8")
    )
    cost = CostModel(bf16.scenario)
    flop, _ = work_done(cost, bf16.runs)
    expected = flop / (cost.rates.plain_flop_per_s * bf16.summary["duration_s"])
    assert bf16.summary["mfu_ratio"] == pytest.approx(expected, rel=1e-12)
    assert 0.9 < fp8.summary["mfu_ratio"] <= 1
    assert fp8.summary["duration_s"] < 0.6 * bf16.summary["duration_s"]


def rows_of(columns: tuple[Column, ...], *rows: dict[str, float]) -> Table:
    """A table of rows that are 0 but for what is named."""
    return table(columns, [tuple(row.get(c.name, 0) for c in columns) for row in rows])


def summary_of(
    scenario: Scenario, requests: Records, runs: Records | None = None, transfers: Records | None = None
) -> dict[str, object]:
    """The summary of these rows: three requests asked for, one of them rejected, two sessions of them finished."""
    cost = CostModel(scenario)
    history = History(
        requests=requests,
        runs=runs or table(simulated_run_columns(len(cost.spans)), []),
        transfers=transfers or table(TRANSFER_COLUMNS, []),
        gaps=table(GAP_COLUMNS, [(2.0, 7.0), (4.0, 5.0)]),
        num_requests=3,
        rejected_requests=1,
        preemptions=2,
        session_usd=np.array([1.0, 2.0]),
        link_busy_s=6.0,
        upkeep=[Upkeep(held_byte_s=(40.0, 80.0, 0.0))],
        busy=[BusyTime()],
    )
    return summarise(scenario, cost, history)


TWO_REPLICAS = {"deployment__replicas": 2}


def test_traffic_counts_copies_by_their_ends_and_tokens_by_where_they_were_found() -> None:
    """From host and from disk into HBM is swapped in; from HBM to host is swapped out; host to disk is neither."""
    scenario = closed_requests("llama-3.1-8b", **TWO_REPLICAS)
    copies = ((1, 0, 5.0), (2, 0, 7.0), (0, 1, 11.0), (1, 2, 100.0))
    transfers = rows_of(
        TRANSFER_COLUMNS, *({"source": source, "target": target, "moved_bytes": b} for source, target, b in copies)
    )
    requests = rows_of(
        REQUEST_COLUMNS,
        {
            "finished_s": 4.0,
            "reusable_tokens": 100,
            "hbm_hit_tokens": 50,
            "host_hit_tokens": 20,
            "recomputed_tokens": 9,
        },
        {"finished_s": 10.0, "reusable_tokens": 100, "disk_hit_tokens": 30},
    )
    found = summary_of(scenario, requests, transfers=transfers)
    assert (found["swap_in_bytes"], found["swap_out_bytes"]) == (12.0, 11.0)
    assert found["kv_hit_ratio"] == {"hbm": 0.25, "host": 0.1, "disk": 0.15}
    assert found["recomputed_tokens"] == 9 + 200 - 100
    assert found["kv_tier_bytes"] == {"hbm_idle": 4.0, "host": 8.0, "disk": 0.0}, "over 10 s"
    assert found["link_busy_ratio"] == pytest.approx(6 / (2 * 10))
    assert found["events"] == 3 + 4


def test_nothing_reusable_is_no_hit() -> None:
    found = summary_of(closed_requests("llama-3.1-8b"), rows_of(REQUEST_COLUMNS, {"finished_s": 4.0}))
    assert found["kv_hit_ratio"] == {"hbm": 0.0, "host": 0.0, "disk": 0.0}
    assert found["recomputed_tokens"] == 0


def test_latency_counts_what_comes_after_the_warm_up() -> None:
    """At 3 s: of two requests the second, of two runs the second, of two pauses the one that ends at 4 s."""
    scenario = closed_requests("llama-3.1-8b", run__warmup="3 s")
    requests = rows_of(
        REQUEST_COLUMNS,
        {"arrival_s": 1.0, "finished_s": 2.0, "ttft_s": 9.0, "output_tokens": 5},
        {"arrival_s": 3.0, "finished_s": 5.0, "ttft_s": 1.0, "output_tokens": 7},
    )
    run = {"iterations": 2, "decoding": 1}
    runs = rows_of(
        simulated_run_columns(1), {**run, "start_s": 1.0, "first_s": 8.0}, {**run, "start_s": 3.0, "first_s": 0.25}
    )
    found = summary_of(scenario, requests, runs)
    assert found["ttft_s"]["mean"] == 1.0  # type: ignore[index]
    assert found["itl_s"]["mean"] == pytest.approx((0.25 + 0.25 + 5.0) / 3)  # type: ignore[index]
    assert (found["requests_per_s"], found["output_tokens_per_s"]) == (0.5, 3.5)
    assert found["iterations"] == 4, "of the whole run"


@pytest.mark.parametrize(("number", "too_short"), [(49, True), (50, False)])
def test_the_summary_says_whether_the_run_is_too_short(number: int, too_short: bool) -> None:
    rows = [{"arrival_s": float(i), "finished_s": i + 1.0, "ttft_s": 1.0} for i in range(number)]
    assert summary_of(closed_requests("llama-3.1-8b"), rows_of(REQUEST_COLUMNS, *rows))["too_short"] is too_short


def test_parts_make_no_difference() -> None:
    """A summary from rows in parts of 50 is that from whole tables, sums to rounding, everything else to the bit."""
    simulation = simulate(load_scenario("yi-34b-50k-a100", {"run.horizon": "20 min"}))
    cost = CostModel(simulation.scenario)
    tables = {
        "requests": (simulation.requests, REQUEST_COLUMNS + MONEY_COLUMNS),
        "runs": (simulation.runs, simulated_run_columns(len(cost.spans))),
        "transfers": (simulation.transfers, TRANSFER_COLUMNS),
    }
    others = {
        "gaps": table(GAP_COLUMNS, []), "num_requests": 9, "rejected_requests": 0, "preemptions": 0,
        "session_usd": np.ones(5), "link_busy_s": 1.0, "upkeep": [Upkeep(held_byte_s=(1.0, 2.0, 3.0))],
        "busy": [BusyTime(1.0, 2.0, 3.0)],
    }  # fmt: skip
    whole = History(**{name: rows.table() for name, (rows, _) in tables.items()}, **others)  # type: ignore[arg-type]
    parts = History(**{name: in_parts(*found, 50) for name, found in tables.items()}, **others)  # type: ignore[arg-type]
    expected, found = (summarise(simulation.scenario, cost, history) for history in (whole, parts))
    sums = ("mfu_ratio", "mbu_ratio", "kv_used_ratio", "swap_in_bytes", "swap_out_bytes")
    assert len(parts.runs) > 200
    assert expected["swap_in_bytes"] > 0
    for part, usd in expected.pop("money").items():
        assert found["money"][part] == pytest.approx(usd, rel=1e-9, abs=1e-15), part
    for key, value in expected.items():
        if key == "itl_s":
            assert value.pop("mean") == pytest.approx(found[key].pop("mean"), rel=1e-12)
        assert found[key] == (pytest.approx(value, rel=1e-12) if key in sums else value), key


def test_what_is_defined_is_in_the_summary() -> None:
    summary = simulate(closed_requests("llama-3.1-8b")).summary
    for name in DEFINITIONS:
        value: object = summary
        for part in name.split("."):
            assert isinstance(value, dict)
            value = value[part]
