"""No simulation does better than the closed form's bounds: in throughput, in work done, in any request's time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.real import closed_requests

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.metrics import work_done
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ClosedArrival, Requests

MODELS = {"paper-34b": 1, "llama-3.1-8b": 1, "gemma-3-27b": 1, "mixtral-8x7b": 2, "jamba-1.5-mini": 2, "gpt-oss-20b": 1}
ROUNDING = 1 + 1e-9


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Closed loops of equal requests, with few seats or small pools as well as with plenty.

    A prompt is one chunk or whole chunks: cut elsewhere, as a busy engine may, its chunks would read less of its own
    KV than they do when it is alone, and time alone would be no bound.
    """
    budget = draw(st.sampled_from([64, 512, 2048]))
    prompt = draw(st.one_of(st.integers(1, budget), st.sampled_from([budget, 2 * budget, 3 * budget])))
    output = draw(st.integers(0, 80))
    model = draw(st.sampled_from(sorted(MODELS)))
    users = draw(st.integers(1, 20))
    settings_: dict[str, Any] = {}
    if draw(st.booleans()):
        settings_["serving__num_gpu_blocks_override"] = draw(st.integers(2, 6)) * (-(-(prompt + output) // 16) + 70)
    return closed_requests(
        model,
        prompt=prompt,
        output=output,
        users=users,
        think_time=draw(st.sampled_from(["0 s", "100 ms", "2 s"])),
        num_requests=draw(st.integers(1, 3)) * users,
        deployment__tensor_parallel=MODELS[model],
        deployment__replicas=draw(st.sampled_from([1, 1, 2])),
        serving__max_num_seqs=draw(st.sampled_from([1, 4, 64])),
        serving__max_num_batched_tokens=budget,
        serving__residency="recompute",
        **settings_,
    )


def most_completions(scenario: Scenario, resource: str, per_s: float, lasts_s: float) -> float:
    """Completions that a bound allows in a run: rate x time, save that users begin staggered and end without a think.

    User u of N begins at u / N of a think time Z and needs k (R + Z) - Z for k requests.
    """
    if resource != "users":
        return per_s * lasts_s
    assert isinstance(scenario.workload, Requests)
    assert isinstance(scenario.workload.arrival, ClosedArrival)
    users, think_s = scenario.workload.arrival.users, scenario.workload.arrival.think_time
    return sum(per_s / users * (lasts_s - user / users * think_s + think_s) for user in range(users))


def share_of_bounds(scenario: Scenario, simulation: Simulation) -> dict[str, float]:
    """Completions over what each bound allows."""
    done, lasts_s = simulation.summary["completed_requests"], simulation.summary["duration_s"]
    return {
        b.resource: done / most_completions(scenario, b.resource, b.sessions_per_s, lasts_s)
        for b in analyze(scenario).bounds
    }


@settings(max_examples=60)
@given(scenarios())
def test_throughput_stays_within_every_bound(scenario: Scenario) -> None:
    shares = share_of_bounds(scenario, simulate(scenario))
    assert set(shares) == {"users", "compute", "hbm_bandwidth", "hbm_size"}
    event(f"nearest: {max(shares, key=lambda r: shares[r])}")
    assert {r: share for r, share in shares.items() if share > ROUNDING} == {}


@settings(max_examples=60)
@given(scenarios())
def test_work_and_times_of_every_path(scenario: Scenario) -> None:
    """FLOP and bytes fit into the time that passed, also those of one request alone; none is faster than alone."""
    simulation, analysis, cost = simulate(scenario), analyze(scenario), CostModel(scenario)
    elapsed_s = simulation.summary["duration_s"] * scenario.deployment.replicas * ROUNDING
    flop, moved_bytes = work_done(cost, simulation.runs)
    assert flop <= cost.rates.plain_flop_per_s * elapsed_s
    assert moved_bytes <= cost.rates.hbm_bytes_per_s * elapsed_s
    assert len(simulation.requests) * analysis.course.compute_s <= elapsed_s
    assert len(simulation.requests) * analysis.course.own_bytes <= moved_bytes * ROUNDING
    alone = analysis.keys
    assert min(simulation.requests["ttft_s"]) * ROUNDING >= alone["first_token_s"]
    assert min(simulation.requests["e2e_s"]) * ROUNDING >= alone["last_token_s"]


# Where a bound binds, a simulation comes close to it: the bounds are no idle numbers.
BINDING = {
    # A user alone is bound by nothing else.
    "users": (0.999, {"prompt": 3000, "output": 100, "users": 1, "num_requests": 5, "think_time": "1 s"}),
    # Prompts without answers.
    "compute": (0.95, {"prompt": 2048, "output": 0, "users": 8, "num_requests": 100}),
    # Long answers to short prompts in full batches; what is lost is the last, shrinking batch and the prompts.
    "hbm_bandwidth": (0.85, {"prompt": 16, "output": 1500, "users": 32, "num_requests": 320}),
    # A pool that holds two: what is lost is the room their answers need, and the prompts in between.
    "hbm_size": (
        0.75,
        {"prompt": 4000, "output": 600, "users": 4, "num_requests": 40, "serving__num_gpu_blocks_override": 2 * 288},
    ),
}


@pytest.mark.parametrize("resource", BINDING)
def test_bounds_are_reached(resource: str) -> None:
    least, shape = BINDING[resource]
    seats = {"serving__max_num_seqs": 32, "serving__residency": "recompute"}
    scenario = closed_requests("llama-3.1-8b", **shape, **seats)  # type: ignore[arg-type]
    assert least < share_of_bounds(scenario, simulate(scenario))[resource] <= ROUNDING
