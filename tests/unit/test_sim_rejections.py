"""Requests that no replica can ever serve."""

import pytest

from ctxsim.errors import InfeasibleError
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

LONG_DOCUMENTS = {"kind": "lognormal", "mean": 150_000, "p95": 160_000}
SMALL_POOL = {"serving.num_gpu_blocks_override": 1_000, "workload.document_tokens": LONG_DOCUMENTS}


def test_users_who_do_not_think_and_are_always_refused_do_not_go_on_for_ever():
    scenario = load_scenario("yi-34b-50k-a100", SMALL_POOL | {"workload.think_time": "0 s"})
    with pytest.raises(
        InfeasibleError, match=r"the last 100,000 requests are all longer than a replica can ever serve"
    ):
        simulate(scenario)


def test_refusals_are_counted_and_the_rest_is_served():
    lengths = {"kind": "uniform", "min": 1_000, "max": 32_000}
    overrides = {"serving.num_gpu_blocks_override": 1_000, "workload.prompt_tokens": lengths}
    found = simulate(load_scenario("llama-8b-chat", overrides | {"workload.num_requests": 200}))
    served, refused = found.summary["completed_requests"], found.summary["rejected_requests"]
    assert served + refused == found.summary["num_requests"] == 200
    assert 60 < served < 140
    # The last output token's KV is never stored.
    assert (found.requests["prompt_tokens"] + found.requests["output_tokens"] - 1).max() <= 16_000
    said = f"{refused} requests are longer than max_model_len (131072 tokens)"
    assert [w for w in found.warnings if w.startswith(said)]
