"""Exact jumps and single steps give one history where KV outlives requests: tiers, policies, routers, schedulers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.cases import Case
from support.compare import account_differences, differences
from support.laws import ConstantLaw
from support.residency import residency_case
from support.sources import Turn
from support.watch import FEATURES, residency_features, watched

CORPUS = 640
BLOCKS = 8
TIED_SEEDS = 300
NEAR_SEEDS = 150


def check(case: Case) -> None:
    jumping, stepping = case.cluster("macro"), case.cluster("single")
    jumped, stepped = jumping.run(), stepping.run()
    one_queue = case.scenario.deployment.router == "central_queue"
    assert differences(case.cost, jumped, stepped, one_queue) == []
    assert account_differences(jumping, stepping) == []


@settings(max_examples=100)
@given(st.randoms(use_true_random=False))
def test_random_cases(rng: Random) -> None:
    case = residency_case(rng)
    with watched() as seen:
        journal = case.run()
    for feature in sorted(residency_features(case, journal, seen)):
        event(feature)
    check(case)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_corpus_agrees(block: int) -> None:
    for seed in range(block, CORPUS, BLOCKS):
        check(residency_case(Random(seed)))


def test_the_corpus_shows_every_feature() -> None:
    """What the comparison is worth: every policy, router, scheduler and copy, and every way to give room up, occurs."""
    shown: Counter[str] = Counter()
    for seed in range(CORPUS):
        case = residency_case(Random(seed))
        with watched() as seen:
            journal = case.run()
        shown += residency_features(case, journal, seen)
    assert {feature: shown[feature] for feature in FEATURES if shown[feature] < 3} == {}


def test_idle_kv_is_held_for_as_long_within_a_hundredth() -> None:
    """Byte-seconds in HBM over many cases: a jump knows them at its ends, and takes them to change evenly between.

    In truth they fall block by block, where sequences that decode displace them: in a small case by a tenth off.
    """
    held = {
        stepping: sum(_hbm_byte_s(residency_case(Random(seed)), stepping) for seed in range(120))
        for stepping in ("macro", "single")
    }
    assert held["macro"] == pytest.approx(held["single"], rel=0.01)


def _hbm_byte_s(case: Case, stepping: str) -> float:
    cluster = case.cluster(stepping)  # type: ignore[arg-type]
    cluster.run()
    return cluster.upkeep()[0].held_byte_s[0] / case.cost.memory.kv_capacity_bytes


def tied(seed: int) -> Case:
    """Users with the same talks on equal replicas: turns end, sessions are over and queues move at one instant."""
    rng = Random(seed)
    case = residency_case(rng)
    while not case.talks:
        case = residency_case(rng)
    first = Turn(rng.randint(5, 60), rng.randint(0, 20), 0.0)
    later = Turn(rng.randint(5, 60), rng.randint(0, 20), rng.choice([0.0, 0.1, 0.3]))
    talk = [first] + [later] * rng.randint(1, 4)
    deployment = case.scenario.deployment.model_copy(update={"replicas": rng.choice([2, 3])})
    scenario = replace(case.scenario, deployment=deployment)
    cost = case.cost
    if rng.random() < 0.6:
        # Ten sums of a tenth are not one: the same boundary is reached by sums that differ in the last bits.
        cost = replace(cost, law=ConstantLaw(0.1), operations=())
    talks = [[talk] * rng.randint(1, 3) for _ in range(rng.randint(2, 8))]
    return replace(case, talks=talks, scenario=scenario, cost=cost)


@pytest.mark.parametrize("block", range(4))
def test_ties_between_replicas(block: int) -> None:
    for seed in range(block, TIED_SEEDS, 4):
        check(tied(seed))


NEAR_S = (0.0, 1e-10, 4e-10, 7e-10, 9e-10, 1.1e-9, 1.6e-9, 1.9e-9, 2.4e-9, 3e-9)


def near_boundaries(seed: int) -> Case:
    """Turns of recorded sessions that come within nanoseconds of the boundaries of iterations of one second."""
    rng = Random(seed)
    case = residency_case(rng)
    while case.talks:
        case = residency_case(rng)
    demands = sorted(
        (replace(d, arrival_s=rng.randint(1, 12) + rng.choice([-1, 1]) * rng.choice(NEAR_S)) for d in case.demands),
        key=lambda d: (d.session, d.turn) if not case.hash_tokens else (d.index,),
    )
    times_s = sorted(d.arrival_s for d in demands)
    return replace(
        case,
        cost=replace(case.cost, law=ConstantLaw(1.0), operations=()),
        demands=[replace(d, arrival_s=at_s, index=i) for i, (d, at_s) in enumerate(zip(demands, times_s, strict=True))],
    )


def test_arrivals_about_a_boundary() -> None:
    for seed in range(NEAR_SEEDS):
        check(near_boundaries(seed))
