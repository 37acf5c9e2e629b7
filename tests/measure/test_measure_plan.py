"""The plan: coarse to fine, deterministic, within the budget; nothing here needs torch."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, takewhile

import pytest

from ctxsim.cost.curves.elementwise import PASSES
from ctxsim.measure.guesses import guess_of
from ctxsim.measure.order import coarse_to_fine, levels, shared
from ctxsim.measure.plan import GRIDS, LEAST_WIDTH, MOST_WEIGHTS, POINT_RATIO, WEIGHTS, Plan, Subject, plan
from ctxsim.measure.points import FAMILIES, Point
from ctxsim.measure.rotation import CACHE_MULTIPLE, MOST_SETS, rotation
from ctxsim.measure.shapes import gemm_shapes, head_shapes, norm_widths

CPU = Subject("cpu", 1, 2**25, 2)
GPU = Subject("cuda", 1, 5 * 10**7, 16)
NODE = Subject("cuda", 8, 5 * 10**7, 16)


def first(planned: Plan, seconds: float) -> list[Point]:
    """Points that the guess fits into so much time."""
    spent = 0.0

    def fits(point: Point) -> bool:
        nonlocal spent
        spent += planned.costs.of(point)
        return spent <= seconds

    return list(takewhile(fits, planned.points))


# Order


def test_levels_are_ends_then_middles():
    assert levels(9) == [0, 3, 2, 3, 1, 3, 2, 3, 0]
    assert (levels(0), levels(1), levels(2), levels(4)) == ([], [0], [0, 0], [0, 1, 2, 0])


def test_corners_come_first_and_everything_comes_once():
    grid = coarse_to_fine((1, 2, 3), "abc")
    assert {values for level, values in grid if level == 0} == {(1, "a"), (1, "c"), (3, "a"), (3, "c")}
    assert [level for level, _ in grid] == sorted(level for level, _ in grid)
    assert sorted(values for _, values in grid) == [(i, letter) for i in (1, 2, 3) for letter in "abc"]
    assert grid[-1][1] == (2, "b"), "the middle of both axes"


def test_queues_share_by_weight_until_they_run_dry():
    queues = {"often": [1.0] * 6, "seldom": [1.0] * 6}
    order = list(shared({name: [(name, c) for c in costs] for name, costs in queues.items()}, {"often": 2, "seldom": 1},
                        lambda item: item[1]))  # fmt: skip
    assert len(order) == 12
    assert [name for name, _ in islice(order, 9)].count("often") == 6


# Shapes


def test_shapes_are_those_of_models():
    shapes = gemm_shapes()
    llama_8b = {(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)}
    llama_70b_on_8 = {(1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584), (16032, 8192)}
    assert llama_8b | llama_70b_on_8 <= set(shapes)
    assert len(shapes) == len(set(shapes))
    assert {(32, 8, 128), (64, 8, 128), (56, 8, 128), (8, 1, 128), (64, 8, 64), (16, 2, 256), (32, 32, 128)} <= set(
        head_shapes()
    )
    assert all(heads % kv_heads == 0 for heads, kv_heads, _ in head_shapes())
    assert {4096, 5120, 7168, 8192} <= set(norm_widths())


# Plan


@pytest.mark.parametrize("subject", [CPU, GPU, NODE], ids=["cpu", "gpu", "node"])
@pytest.mark.parametrize("budget_s", [60.0, 480.0])
def test_the_same_plan_every_time_and_no_point_twice(subject, budget_s):
    planned = plan(subject, budget_s, FAMILIES)
    assert planned == plan(subject, budget_s, FAMILIES)
    assert len(set(planned.points)) == len(planned.points)
    assert max(planned.costs.of(point) for point in planned.points) <= budget_s * POINT_RATIO


def test_every_beginning_has_all_families_by_their_weights():
    planned = plan(GPU, 480.0, FAMILIES)
    spent = dict.fromkeys(FAMILIES, 0.0)
    for point in first(planned, 240.0):
        spent[point.family] += planned.costs.of(point)
    share_s = {family: spent[family] / WEIGHTS[family] for family in ("gemm", "prefill_attention", "decode_attention")}
    one_point_s = planned.costs.budget_s * POINT_RATIO / min(WEIGHTS[family] for family in share_s)
    assert max(share_s.values()) - min(share_s.values()) <= one_point_s
    assert {point.family for point in first(planned, 30.0)} == set(FAMILIES) - {"all_reduce"}


def test_a_short_beginning_spans_the_whole_range():
    points = first(plan(GPU, 480.0, FAMILIES), 120.0)
    gemms = [p for p in points if p.family == "gemm"]
    assert {p.m for p in gemms} >= {1, 32768}
    assert {p.dtype for p in gemms} == {"bf16", "fp8"}
    smallest, *_, largest = gemm_shapes()
    assert {smallest, largest} <= {(p.n, p.k) for p in gemms}
    assert max(p.past_tokens for p in points if p.family == "decode_attention") == 4**10 - 1
    prefills = [p for p in points if p.family == "prefill_attention"]
    assert any(p.new_tokens < p.past_tokens and p.past_tokens >= 131072 for p in prefills)
    copies = [p for p in points if p.family == "copy"]
    assert {p.direction for p in copies} == {"device", "to_host", "to_device", "both"}
    assert {p.pinned for p in copies} == {True, False}
    assert {p.beside for p in copies} == {"nothing", "gemm"}
    assert max(p.descriptors for p in copies) > 1_000


def test_a_larger_budget_takes_longer_points():
    longest = [max(p.new_tokens for p in plan(GPU, b, FAMILIES).points) for b in (10.0, 480.0)]
    assert longest[0] < longest[1]
    assert plan(CPU, 10.0, FAMILIES).too_long["gemm"] > plan(CPU, 480.0, FAMILIES).too_long["gemm"]


def test_collectives_are_planned_where_there_are_several_devices():
    assert plan(GPU, 60.0, FAMILIES).empty == ("all_reduce",)
    counts = {p.accelerators for p in plan(NODE, 480.0, ["all_reduce"]).points}
    assert counts == {2, 4, 8}


def test_a_cpu_copies_in_its_own_memory_only():
    assert {p.direction for _, p in GRIDS["copy"](CPU)} == {"device"}
    assert not any(p.pinned for _, p in GRIDS["copy"](CPU))


@pytest.mark.parametrize("subject", [GPU, CPU])
def test_copies_are_made_of_their_blocks(subject):
    for _, point in GRIDS["copy"](subject):
        assert point.moved_bytes == point.block_bytes * point.descriptors


def test_copies_beside_passes_of_a_cpu_are_of_sessions():
    beside = [point for _, point in GRIDS["copy"](CPU) if point.beside == "gemm"]
    assert {point.descriptors for point in beside} == {1, 4, 16, 64}
    assert {point.moved_bytes for point in beside} == {2**i for i in range(22, 27)}


# Guesses and rotation


def test_a_guess_is_a_roofline():
    guess = guess_of("cuda", 16)
    large = Point("gemm", "bf16", m=8192, n=8192, k=8192)
    assert guess.call_s(large) == pytest.approx(large.flop / guess.flop_per_s["bf16"] + guess.launch_s)
    thin = Point("gemm", "bf16", m=1, n=8192, k=8192)
    assert guess.call_s(thin) == pytest.approx(thin.touched_bytes / guess.memory_bytes_per_s + guess.launch_s)
    out = Point("copy", moved_bytes=10**9, block_bytes=10**9, descriptors=1, direction="to_host", pinned=True)
    assert guess.call_s(out) == pytest.approx(10**9 / guess.link_bytes_per_s + guess.launch_s)


def test_operands_rotate_past_the_cache():
    assert rotation(100, 1000) * 100 > CACHE_MULTIPLE * 1000
    assert rotation(10**6, 1000) == 2
    assert rotation(1, 10**9) == MOST_SETS


def test_a_cpu_is_measured_with_what_it_would_serve():
    gemms = [point for _, point in GRIDS["gemm"](CPU)]
    assert {point.dtype for point in gemms} == {"fp32", "bf16"}
    assert all(min(p.n, p.k) >= LEAST_WIDTH and p.n * p.k <= MOST_WEIGHTS for p in gemms)
    assert {point.dtype for _, point in GRIDS["prefill_attention"](CPU)} == {"fp32", "bf16"}
    assert {point.beside for _, point in GRIDS["copy"](CPU)} == {"nothing", "gemm"}


def test_every_small_kernel_is_planned_and_counts_what_it_moves():
    kernels = [point for _, point in GRIDS["elementwise"](CPU)]
    assert {point.variant for point in kernels} == set(PASSES)
    for point in kernels:
        assert point.moved_bytes == PASSES[point.variant] * point.m * point.n * (4 if point.dtype == "fp32" else 2)


def test_only_the_formats_asked_for():
    planned = plan(CPU, 60.0, FAMILIES, ["fp32"])
    assert {point.dtype for point in planned.points} == {"fp32", ""}
    assert {point.family for point in planned.points} == set(FAMILIES) - {"all_reduce"}


# Models that are asked for


@pytest.mark.parametrize("machine", [CPU, GPU])
def test_shapes_of_a_model_that_is_asked_for_come_before_others(machine):
    """Yi-34B's heads and matrices are in any plan, far down; asked for, a short budget reaches them."""
    asked = replace(machine, models=("yi-34b-200k",))
    shapes = {(9216, 7168), (7168, 7168), (40960, 7168), (7168, 20480), (64000, 7168)}
    families = ("gemm", "decode_attention", "prefill_attention")

    def share(subject: Subject) -> float:
        found = plan(subject, 300.0, families).points[:200]
        return sum((p.n, p.k) in shapes or (p.heads, p.kv_heads) == (56, 8) for p in found) / 200

    assert share(asked) > max(0.3, 2 * share(machine))
    points = plan(asked, 1e9, families).points
    assert len(points) == len(set(points))
    assert set(plan(machine, 1e9, families).points) <= set(points)
