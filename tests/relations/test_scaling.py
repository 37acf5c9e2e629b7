"""What must follow when a whole machine, a window, a KV head count, a pool or an answer is scaled."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cases import StubMemory, random_case
from support.real import closed_requests, scenario_of

from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.model import Attention, Layer, ModelSpec
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.workload import ClosedArrival, PoissonArrival, Requests

TIMES = ("arrival_s", "admitted_s", "first_token_s", "finished_s")
COUNTS = ("request", "replica", "prompt_tokens", "output_tokens", "preemptions", "recomputed_tokens")


def busy(model: str, ranks: int = 1, *, closed: bool = False) -> Scenario:
    """A scenario under pressure: queues, preemptions, two replicas."""
    arrival = {"kind": "closed", "users": 12, "think_time": "1 s"} if closed else {"kind": "poisson", "rate": "60 /s"}
    workload = {
        "kind": "requests",
        "prompt_tokens": {"kind": "lognormal", "mean": 400.0, "p95": 1200.0, "max": 2000},
        "output_tokens": {"kind": "lognormal", "mean": 250.0, "p95": 700.0, "max": 900},
        "arrival": arrival,
        "num_requests": 60,
    }
    return scenario_of(
        model,
        "h200-sxm",
        workload,
        deployment__tensor_parallel=ranks,
        deployment__replicas=2,
        serving__num_gpu_blocks_override=200,
        serving__max_num_seqs=16,
        serving__max_num_batched_tokens=512,
        serving__iteration_overhead="1 ms",
    )


def faster(scenario: Scenario, factor: float) -> Scenario:
    """Every rate of machine and workload multiplied, every time divided."""
    hardware, workload = scenario.hardware, scenario.workload
    assert isinstance(workload, Requests)
    assert hardware.scale_up_bytes_per_s is not None
    machine = replace(
        hardware,
        peaks_flop_per_s=tuple((dtype, factor * rate) for dtype, rate in hardware.peaks_flop_per_s),
        hbm_bytes_per_s=factor * hardware.hbm_bytes_per_s,
        scale_up_bytes_per_s=factor * hardware.scale_up_bytes_per_s,
    )
    arrival = workload.arrival
    if isinstance(arrival, ClosedArrival):
        arrival = arrival.model_copy(update={"think_time": arrival.think_time / factor})
    elif isinstance(arrival, PoissonArrival):
        arrival = arrival.model_copy(update={"rate": arrival.rate * factor})
    serving = scenario.serving.model_copy(update={"iteration_overhead": scenario.serving.iteration_overhead / factor})
    return replace(
        scenario, hardware=machine, serving=serving, workload=workload.model_copy(update={"arrival": arrival})
    )


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("model", "ranks"), [("llama-3.1-8b", 1), ("gemma-3-27b", 2), ("mixtral-8x7b", 2)])
@pytest.mark.parametrize("factor", [4.0, 0.5, 3.0])
def test_a_machine_as_a_whole_c_times_faster(model: str, ranks: int, factor: float, closed: bool) -> None:
    """The same history at times divided by c: to the bit where c is a power of two."""
    scenario = busy(model, ranks, closed=closed)
    plain, scaled = simulate(scenario), simulate(faster(scenario, factor))
    assert len(plain.requests) == 60
    assert plain.summary["preemptions"] > 0
    for name in COUNTS:
        assert np.array_equal(plain.requests[name], scaled.requests[name])
    for name in TIMES:
        times_s, scaled_s = plain.requests[name] / factor, scaled.requests[name]
        if factor == 3.0:
            assert scaled_s == pytest.approx(times_s, rel=1e-9)
        else:
            assert np.array_equal(scaled_s, times_s)
    assert scaled.summary["mfu_ratio"] == pytest.approx(plain.summary["mfu_ratio"], rel=1e-9)


def with_attention(model: ModelSpec, **changes: object) -> ModelSpec:
    """The model with all its attention layers changed."""

    def changed(layer: Layer) -> Layer:
        assert isinstance(layer.mixer, Attention)
        return replace(layer, mixer=replace(layer.mixer, **changes))  # type: ignore[arg-type]

    return replace(model, layers=tuple(changed(layer) for layer in model.layers))


def same_requests(ours: Table, theirs: Table) -> bool:
    return all(np.array_equal(ours[name], theirs[name]) for name in (*TIMES, *COUNTS))


@pytest.mark.parametrize("kind", ["sliding", "chunked"])
def test_a_window_no_shorter_than_the_context_is_full_attention(kind: str) -> None:
    scenario = busy("llama-3.1-8b")
    longest = int(np.max(simulate(scenario).requests["prompt_tokens"])) + 900
    whole = simulate(scenario)
    assert whole.summary["preemptions"] > 0

    def windowed(tokens: int) -> Scenario:
        return replace(scenario, model=with_attention(scenario.model, kind=kind, window_tokens=tokens))

    assert same_requests(simulate(windowed(longest)).requests, whole.requests)
    assert not same_requests(simulate(windowed(longest // 8)).requests, whole.requests), "the window has no effect"


def test_as_many_kv_heads_as_heads_is_multi_head_attention() -> None:
    """Bytes of KV read go with KV heads: eight groups of heads on an eighth of the bandwidth are one group each."""
    scenario = closed_requests("llama-3.1-8b", prompt=4000, output=200)
    heads = next(iter(scenario.model.layer_counts)).mixer
    assert isinstance(heads, Attention)
    assert heads.num_heads == 4 * heads.num_kv_heads
    grouped = simulate(scenario)
    multi_head = simulate(replace(scenario, model=with_attention(scenario.model, num_kv_heads=heads.num_heads)))
    ours, theirs = grouped.runs, multi_head.runs
    assert np.array_equal(ours["pairs_0"], theirs["pairs_0"]), "as much attention, over more bytes"
    decode = ours["decode_tokens"] == ours["sequences"]
    assert theirs["growth_s"][decode] == pytest.approx(4 * ours["growth_s"][decode], rel=1e-12)
    assert theirs["kv_end_bytes"] == pytest.approx(4 * ours["kv_end_bytes"], rel=1e-12)


@settings(max_examples=40)
@given(
    st.sampled_from(["llama-3.1-8b", "gemma-3-27b", "jamba-1.5-mini", "gpt-oss-20b"]),
    st.sampled_from(["hbm_bytes_per_s", "peaks_flop_per_s"]),
    st.floats(1.0, 20.0),
    st.integers(1, 9_000),
    st.integers(0, 400),
)
def test_a_better_machine_is_never_slower_for_one_request(
    model: str, rate: str, factor: float, prompt_tokens: int, output_tokens: int
) -> None:
    scenario = closed_requests(model, prompt=prompt_tokens, output=output_tokens)
    plain = simulate(scenario).requests
    better = simulate(replace(scenario, hardware=better_at(scenario.hardware, rate, factor))).requests
    for name in ("first_token_s", "finished_s"):
        assert plain[name][0] / factor * (1 - 1e-12) <= better[name][0] <= plain[name][0] * (1 + 1e-12)


def better_at(hardware: Hardware, rate: str, factor: float) -> Hardware:
    if rate == "hbm_bytes_per_s":
        return replace(hardware, hbm_bytes_per_s=factor * hardware.hbm_bytes_per_s)
    peaks = tuple((dtype, factor * peak) for dtype, peak in hardware.peaks_flop_per_s)
    return replace(hardware, peaks_flop_per_s=peaks)


def test_larger_pools_preempt_less() -> None:
    """Over the same forty cases; of a single case it need not hold, as other requests meet at other times."""

    def preemptions(factor: float) -> int:
        total = 0
        for seed in range(40):
            case = random_case(Random(seed))
            capacity_bytes = factor * case.cost.layout.footprint_bytes(150)
            total += replace(case, cost=replace(case.cost, memory=StubMemory(capacity_bytes))).run().preemptions
        return total

    counts = [preemptions(factor) for factor in (1, 1.5, 2, 3, 30)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > counts[-1] == 0


@pytest.mark.parametrize("output_tokens", [256, 512])
def test_events_do_not_depend_on_the_length_of_answers(output_tokens: int) -> None:
    """The usual benchmark: 2,048 tokens in, 2 requests a second, 8B on one A100."""

    def events(tokens: int) -> int:
        return int(simulate(load_scenario("llama-8b-chat", {"workload.output_tokens": tokens})).summary["events"])

    assert events(2 * output_tokens) < 1.1 * events(output_tokens)
