"""Whom an iteration of prompts and answers is for, by hand: one operation at a time, at 1 FLOP/s and 1 byte/s."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from support.cases import BASE, StubCost, stub_cost
from support.real import closed_requests

from ctxsim.cost import CostModel, Operation, Rates, course_s
from ctxsim.geometry import BatchTotals, Span
from ctxsim.metrics.split import busy_time
from ctxsim.metrics.utilisation import mean_batches, run_s
from ctxsim.records import Table, simulated_run_columns, table
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

BATCH = BatchTotals(4, 13, 3, [300.0], [0.0], [100.0], [0.0])
"""A chunk of ten tokens beside three that decode."""
DECODES = BatchTotals(3, 3, 3, [90.0], [0.0], [90.0], [0.0])


def cost_of(*operations: Operation, overhead_s: float = 0.0, link_bytes_per_s: float | None = None) -> StubCost:
    scenario = replace(BASE, serving=BASE.serving.model_copy(update={"iteration_overhead": overhead_s}))
    rates = Rates(1.0, 1.0, 1.0, link_bytes_per_s)
    return replace(stub_cost(operations=operations), scenario=scenario, rates=rates)


def seconds(cost: StubCost | CostModel, mine: BatchTotals, batch: BatchTotals = BATCH) -> tuple[float, float]:
    """Of an iteration: for a part of its batch, and all."""
    division = cost.division(batch, mine)
    return float(division.mine.seconds), float(division.whole.seconds)


def read(tokens: int) -> float:
    """The share of eight experts that so many tokens read, two each."""
    return 1 - 0.75**tokens


OPERATIONS: dict[str, tuple[dict[str, Any], float, float]] = {
    # What it does, seconds of the decodes, seconds of all.
    "compute binds: by tokens": ({"flop_per_token": 1.0, "bytes_per_pass": 5.0}, 3.0, 13.0),
    "weights bind: evenly": ({"flop_per_token": 0.1, "bytes_per_pass": 8.0}, 6.0, 8.0),
    "what each token reads is its own": ({"bytes_per_token": 2.0}, 6.0, 26.0),
    "so is what each sequence reads": ({"bytes_per_sequence": 2.0, "bytes_per_pass": 4.0}, 6.0 + 3.0, 8.0 + 4.0),
    "logits": ({"flop_per_sequence": 5.0}, 15.0, 20.0),
    "decoding alone": ({"flop_per_decode_token": 7.0}, 21.0, 21.0),
    "attention bound by KV": ({"span": 0, "flop_per_pair": 0.1, "bytes_per_touched": 1.0}, 90.0, 100.0),
    "attention bound by pairs": ({"span": 0, "flop_per_pair": 1.0, "bytes_per_touched": 1.0}, 90.0, 300.0),
    "experts: what each alone would read is its own, the rest even": (
        {"expert_bytes": 8.0, "experts": 8, "experts_per_token": 2},
        8 * (read(13) - read(10)) + 8 * (read(3) + read(10) - read(13)) * 3 / 4,
        8 * read(13),
    ),
}


def test_kernels_are_told_apart_by_span_and_slopes_of_one_span_add_up() -> None:
    """Overhead and products first; on span 0 a kernel bound by pairs; on span 1 one bound by KV, and two by pairs."""
    cost = cost_of(
        Operation("product", flop_per_token=1.0),
        Operation("pairs", span=0, flop_per_pair=2.0),
        Operation("kv", span=1, bytes_per_touched=3.0),
        Operation("more pairs", span=1, flop_per_pair=0.5, bytes_per_touched=0.125),
        Operation("even more", span=1, flop_per_pair=0.25),
        overhead_s=8.0,
    )
    batch = BatchTotals(4, 13, 3, [300.0, 500.0], [0.0, 0.0], [100.0, 200.0], [0.0, 0.0])
    decodes = BatchTotals(3, 3, 3, [90.0, 30.0], [0.0, 0.0], [90.0, 20.0], [0.0, 0.0])
    mine, whole, slopes = cost.division(batch, decodes)
    assert (float(whole.fixed_s), [float(s) for s in whole.kernels_s]) == (8 + 13, [600, 600 + 250 + 125])
    assert (float(mine.fixed_s), [float(s) for s in mine.kernels_s]) == (8 * 3 / 4 + 3, [180, 60 + 15 + 7.5])
    assert [(float(per_pair_s), float(per_touched_s)) for per_pair_s, per_touched_s in slopes] == [(2, 0), (0.75, 3)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_by_hand(name: str) -> None:
    what, mine_s, all_s = OPERATIONS[name]
    found = seconds(cost_of(Operation("one", **what)), DECODES)
    assert found == pytest.approx([mine_s, all_s], rel=1e-12)


def test_links_go_by_tokens_and_the_host_evenly() -> None:
    """13 tokens send 26 bytes at 2 bytes/s; the host takes 8 s."""
    cost = cost_of(Operation("all_reduce", link_bytes_per_token=2.0), overhead_s=8.0, link_bytes_per_s=2.0)
    found = seconds(cost, DECODES)
    assert found == pytest.approx([3.0 + 6.0, 13.0 + 8.0], rel=1e-12)


def test_operations_of_a_real_model_are_all_divided() -> None:
    """What is for decodes and what is for the chunk sum to the pass, whichever of them is asked for."""
    cost = CostModel(closed_requests("mixtral-8x7b", serving__iteration_overhead="1 ms"))
    chunk, decodes = cost.batch(512, 1024), cost.batch(1, 3000, sequences=3)
    both = BatchTotals(
        4, 515, 3, [chunk.pairs[0] + decodes.pairs[0]], [0.0], [chunk.touched[0] + decodes.touched[0]], [0.0]
    )
    mine_s, all_s = seconds(cost, decodes, both)
    others_s, _ = seconds(cost, chunk, both)
    assert float(all_s) == pytest.approx(cost.pass_s(both), rel=1e-12)
    assert float(mine_s + others_s) == pytest.approx(float(all_s), rel=1e-12)
    assert 0 < mine_s < all_s


def rows_of(*rows: dict[str, float]) -> Table:
    columns = simulated_run_columns(1)
    return table(columns, [tuple(row.get(c.name, 0) for c in columns) for row in rows])


def test_runs_of_one_kind_are_theirs_and_copies_slow_either() -> None:
    """Two prompts in 10 s, three that decode in 3 + 4 s, both in 8 s of which copies took 2 s: as weights are read."""
    cost = cost_of(Operation("one", bytes_per_pass=8.0))
    runs = rows_of(
        {"iterations": 1, "first_s": 10.0, "sequences": 2, "new_tokens": 50, "slowed_s": 1.0},
        {"iterations": 2, "first_s": 3.0, "growth_s": 1.0, "sequences": 3, "decoding": 3, "new_tokens": 3},
        {"iterations": 1, "first_s": 8.0, "sequences": 4, "decoding": 3, "new_tokens": 13, "slowed_s": 2.0},
    )
    found = busy_time(cast(CostModel, cost), [runs])
    assert found.prefill_s == pytest.approx(9.0 + 6.0 / 4, rel=1e-12)
    assert found.decode_s == pytest.approx(7.0 + 6.0 * 3 / 4, rel=1e-12)
    assert found.slowed_s == 3.0


def test_slow_iterations_are_as_much_longer_as_the_law_without_copies_says() -> None:
    simulation = simulate(load_scenario("yi-34b-50k-a100", {"run.horizon": "20 min"}))
    cost, runs = CostModel(simulation.scenario), simulation.runs.table()
    slowed = np.flatnonzero(runs["slowed_s"] > 1e-9)
    assert len(slowed) > 10
    assert np.all(runs["slowed_s"] > -1e-12)
    spans = range(len(cost.spans))
    for i in slowed:
        columns = [
            [float(runs[f"{name}_{j}"][i]) for j in spans]
            for name in ("pairs", "pairs_growth", "touched_tokens", "touched_growth_tokens")
        ]
        numbers = (int(runs[name][i]) for name in ("sequences", "new_tokens", "decode_tokens"))
        alone_s = course_s(cost.law(BatchTotals(*numbers, *columns)), int(runs["iterations"][i]))
        assert run_s(runs)[i] - runs["slowed_s"][i] == pytest.approx(alone_s, rel=1e-9)


@pytest.mark.parametrize("span", [Span("full"), Span("sliding", 7), Span("chunked", 7), Span("topk", 7)])
def test_pairs_of_one_token_follow_from_what_it_touches(span: Span) -> None:
    """Half a pair less where the next will touch one more."""
    for past in range(30):
        one = span.extent(1, past)
        assert one.pairs == one.touched - one.touched_growth / 2, past
        assert one.pairs_growth == one.touched_growth


def test_what_is_told_of_decodes_is_a_part_of_every_mixed_run() -> None:
    simulation = simulate(closed_requests("llama-3.1-8b", prompt=700, output=40, users=9, num_requests=60))
    runs = simulation.runs.table()
    mixed = (runs["decoding"] > 0) & (runs["decoding"] < runs["sequences"])
    assert 5 < np.count_nonzero(mixed) < len(runs)
    touched, whole = runs["decode_touched_tokens_0"], mean_batches(CostModel(simulation.scenario), runs).touched[0]
    assert np.all(touched[~mixed] == 0)
    assert np.all((touched[mixed] > 0) & (touched[mixed] < whole[mixed]))
    assert np.array_equal(runs["decode_touched_growth_tokens_0"][mixed], runs["decoding"][mixed])
