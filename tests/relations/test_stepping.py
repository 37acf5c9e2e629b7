"""Exact jumps and single steps give one history: on random engines, and with the cost models of real models."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.calibrations import calibrated
from support.cases import Case, engine, random_case, stub_cost
from support.compare import FEATURES, differences, features
from support.laws import ConstantLaw
from support.real import scenario_of
from support.sources import at

from ctxsim.cost import CostModel
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.sim.journal import Journal
from ctxsim.spec.scenario import Scenario
from ctxsim.workload import make_source

COVERAGE_SEEDS = 100
TIED_SEEDS = 120
NEAR_SEEDS = 200


@settings(max_examples=260)
@given(st.randoms(use_true_random=False))
def test_random_cases(rng: Random) -> None:
    case = random_case(rng)
    jumped = case.run()
    for feature in sorted(features(case, jumped)):
        event(feature)
    assert differences(case.cost, jumped, case.run("single")) == []


def test_seeded_cases_agree_and_show_every_feature() -> None:
    """What the comparison is worth: preemption, filling windows, runs of chunks, ties ... all do occur."""
    seen: Counter[str] = Counter()
    for seed in range(COVERAGE_SEEDS):
        case = random_case(Random(seed))
        jumped = case.run()
        seen += features(case, jumped)
        assert differences(case.cost, jumped, case.run("single")) == [], seed
    assert {feature: seen[feature] for feature in FEATURES if seen[feature] < 3} == {}


def tied_case(seed: int) -> Case:
    """Users with equal requests on equal replicas: many of them finish, and come back, at one instant."""
    rng = Random(seed)
    lengths = [(rng.randint(1, 40), rng.randint(0, 20)) for _ in range(rng.randint(1, 2))]
    users = [[rng.choice(lengths) for _ in range(rng.randint(1, 6))] for _ in range(rng.randint(2, 8))]
    scenario = engine(max_num_seqs=rng.choice([1, 2, 4]), max_num_batched_tokens=8, replicas=rng.choice([2, 3]))
    case = replace(random_case(rng), demands=(), users=users, think_s=rng.choice([0.0, 0.01, 0.3]), scenario=scenario)
    if rng.random() < 0.5:
        # Ten sums of a tenth are not one: the same boundary is reached by sums that differ in the last bits.
        return replace(case, cost=replace(case.cost, law=ConstantLaw(0.1)))
    return case


def test_ties_between_replicas() -> None:
    """Completions of one instant keep one order, whatever sums led there, so that routing cannot differ."""
    for seed in range(TIED_SEEDS):
        case = tied_case(seed)
        assert differences(case.cost, case.run(), case.run("single")) == [], seed


NEAR_S = (0.0, 1e-10, 4e-10, 7e-10, 9e-10, 1.1e-9, 1.6e-9, 1.9e-9, 2.4e-9, 3e-9)


def near_boundaries(seed: int) -> Case:
    """Arrivals within nanoseconds of the boundaries of iterations of one second."""
    rng = Random(seed)
    times_s = sorted(rng.randint(1, 6) + rng.choice([-1, 1]) * rng.choice(NEAR_S) for _ in range(rng.randint(2, 12)))
    demands = [at(t, rng.randint(1, 30), rng.randint(0, 6), index=i) for i, t in enumerate(times_s)]
    cost = stub_cost(law=ConstantLaw(1.0), capacity_bytes=rng.choice([1e9, 200.0]))
    limits = engine(max_num_seqs=rng.choice([1, 2, 8]), max_num_batched_tokens=8, replicas=rng.choice([1, 2]))
    return Case(cost, limits, demands)


def test_arrivals_about_a_boundary() -> None:
    for seed in range(NEAR_SEEDS):
        case = near_boundaries(seed)
        assert differences(case.cost, case.run(), case.run("single")) == [], seed


LONG_TAILED = {"kind": "lognormal", "mean": 60.0, "p95": 200.0, "min": 1, "max": 300}


class Small(NamedTuple):
    """A model on a machine with a KV pool for so many of its longest prompts: short enough that sequences collide."""

    model: str
    hardware: str
    tensor_parallel: int
    shortest_prompt: int
    longest_prompt: int
    prompts_held: float
    weight_dtype: str = "bf16"


SMALL = (
    Small("paper-34b", "paper-a100", 1, 30, 400, 1.8),
    Small("llama-3.1-8b", "a100-80gb-sxm", 1, 1, 700, 1.5),
    # Windows of 1,024 tokens; chunks of 8,192; selections of 2,048; latent rows; constant states.
    Small("gemma-3-27b", "h200-sxm", 1, 900, 1010, 2.05),
    Small("llama-4-scout", "h200-sxm", 8, 8100, 8180, 2.0),
    Small("deepseek-v3.2", "h200-sxm", 8, 1900, 2040, 2.02, "fp8"),
    Small("deepseek-v3", "h200-sxm", 8, 100, 500, 1.8, "fp8"),
    Small("jamba-1.5-mini", "h200-sxm", 2, 1, 600, 2.3),
    Small("deepseek-v3", "h100-80gb-sxm", 16, 100, 500, 1.8, "fp8"),
)


def small_scenario(small: Small, seed: int) -> Scenario:
    """Open and closed loops, one replica and two, in turn."""
    open_loop = {"kind": "gamma", "rate": "40 /s", "burstiness": 0.3}
    workload = {
        "kind": "requests",
        "prompt_tokens": {"kind": "uniform", "min": small.shortest_prompt, "max": small.longest_prompt},
        "output_tokens": LONG_TAILED,
        "arrival": {"kind": "closed", "users": 9, "think_time": "0 s"} if seed % 2 else open_loop,
        "num_requests": 25,
    }
    scenario = scenario_of(
        small.model,
        small.hardware,
        workload,
        deployment__tensor_parallel=small.tensor_parallel,
        deployment__replicas=1 + seed % 2,
        serving__weight_dtype=small.weight_dtype,
        serving__max_num_seqs=8,
        serving__max_num_batched_tokens=(512, 100)[seed % 2],
        run__seed=seed,
    )
    layout = CostModel(scenario).layout
    blocks = ceil(small.prompts_held * layout.footprint_bytes(small.longest_prompt) / layout.block_bytes)
    return replace(scenario, serving=scenario.serving.model_copy(update={"num_gpu_blocks_override": blocks}))


def served(scenario: Scenario, stepping: Stepping) -> Journal:
    source = make_source(scenario.workload, scenario.run.seed)
    return Cluster(scenario, CostModel(scenario), source, stepping=stepping, keep_history=True).run()


@pytest.mark.parametrize("fidelity", ["peak", "calibrated"])
@pytest.mark.parametrize("small", SMALL, ids=lambda small: small.model)
def test_real_models(small: Small, fidelity: str) -> None:
    completed = preemptions = 0
    for seed in range(4):
        scenario = small_scenario(small, seed)
        scenario = calibrated(scenario) if fidelity == "calibrated" else scenario
        jumped = served(scenario, "macro")
        assert differences(CostModel(scenario), jumped, served(scenario, "single")) == [], seed
        completed += len(jumped.finished)
        preemptions += jumped.preemptions
    assert completed > 50
    assert preemptions > 0, "the pool was never short: the comparison shows less than it should"
