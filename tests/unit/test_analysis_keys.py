"""The keys of ``analyze``: exactly those promised, all with a value, for every model and machine."""

from __future__ import annotations

from dataclasses import replace
from math import floor, isfinite

import pytest
from cost_scenarios import MODELS, most_ranks, scenario, with_document

from ctxsim.analysis import analyze
from ctxsim.analysis.residency import POLICIES
from ctxsim.spec.catalog import names
from ctxsim.spec.scenario import load_scenario

KEYS = {
    "feasible",
    "weight_bytes",
    "hbm_bytes",
    "kv_bytes_per_token",
    "kv_bytes_per_session",
    "kv_capacity_bytes",
    "kv_capacity_tokens",
    "concurrent_sessions",
    "concurrent_sessions_whole",
    "prefill_flop",
    "prefill_s",
    "prefill_bound",
    "decode_step_s",
    "decode_answer_s",
    "decode_bound",
    "first_token_s",
    "last_token_s",
    "switch_s",
    "session_busy_s",
    "session_wall_s",
    "sessions_per_hour_bound",
    "bottleneck",
    "ridge_flop_per_byte",
    "cost_usd_per_session",
    "cost_usd_per_million_output_tokens",
    "residency",
    "gap",
    "working_set",
    "breakdown",
}
WORDS = {"feasible", "prefill_bound", "decode_bound", "bottleneck", "residency", "gap", "working_set", "breakdown"}
NEEDS_CAPACITY = {"cost_usd_per_session", "cost_usd_per_million_output_tokens"}


def check(keys: dict[str, object]) -> None:
    assert set(keys) == (KEYS if keys["feasible"] else KEYS | {"infeasible_reason"})
    for name in KEYS - WORDS:
        value = keys[name]
        if value is None:
            # Where not one byte is left for KV there are no sessions, and so no price of one.
            assert name in NEEDS_CAPACITY
            assert keys["sessions_per_hour_bound"] == 0
            continue
        assert isinstance(value, int | float)
        assert isfinite(value)
        assert value >= 0
    assert keys["prefill_bound"] in ("compute", "hbm", "link")
    assert keys["decode_bound"] in ("compute", "hbm", "link")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("group", [False, True])
def test_every_model_has_every_key(name: str, group: bool) -> None:
    ranks = most_ranks(name) if group else 1
    check(analyze(scenario(name, "h100-80gb-sxm", deployment__tensor_parallel=ranks)).keys)


@pytest.mark.parametrize("hardware", names("hardware"))
def test_every_machine_has_every_key(hardware: str) -> None:
    check(analyze(scenario("llama-3.1-8b", hardware)).keys)


@pytest.mark.parametrize("name", names("scenario"))
def test_every_shipped_scenario_has_every_key(name: str) -> None:
    shipped = load_scenario(name)
    if shipped.workload.kind == "trace":
        shipped = load_scenario(name, {"workload.num_requests": 5})
    keys = dict(analyze(shipped).keys)
    assert bool(keys.pop("intervals", None)) == (shipped.fidelity == "calibrated")
    check(keys)


@pytest.mark.parametrize("name", MODELS)
def test_keys_agree_with_each_other(name: str) -> None:
    keys = analyze(scenario(name, "b200-sxm", deployment__tensor_parallel=most_ranks(name))).keys
    assert keys["concurrent_sessions_whole"] == floor(keys["concurrent_sessions"])
    assert keys["feasible"] == (keys["concurrent_sessions"] >= 1)
    assert keys["concurrent_sessions"] == keys["kv_capacity_bytes"] / keys["kv_bytes_per_session"]
    assert keys["decode_answer_s"] == 250 * keys["decode_step_s"]
    assert keys["session_wall_s"] == pytest.approx(keys["session_busy_s"] + 5 * 60, rel=1e-12)
    assert 0 < keys["first_token_s"] < keys["last_token_s"] <= keys["session_busy_s"]
    rows = keys["breakdown"]["prefill"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(keys["prefill_s"], rel=1e-12)
    assert sum(row["flop"] for row in rows) == pytest.approx(keys["prefill_flop"], rel=1e-12)
    steps = keys["breakdown"]["decode_step"]
    assert sum(row["seconds"] for row in steps) == pytest.approx(keys["decode_step_s"], rel=1e-12)
    bounds = keys["breakdown"]["sessions_per_hour_bounds"]
    assert min(bounds.values()) == bounds[keys["bottleneck"]] == keys["sessions_per_hour_bound"]
    memory = keys["breakdown"]["memory"]
    left = memory["usable_bytes"] - memory["weight_bytes"] - memory["activation_bytes"] - memory["reserve_bytes"]
    assert memory["kv_capacity_bytes"] == pytest.approx(left, rel=1e-12, abs=1)


def test_the_chosen_policy_s_row_is_the_bound_itself() -> None:
    for policy in POLICIES:
        keys = analyze(scenario(serving__residency=policy)).keys
        assert set(keys["residency"]) == set(POLICIES)
        assert keys["residency"][policy] == {name: keys[name] for name in ("sessions_per_hour_bound", "bottleneck")}


def test_whole_blocks_make_the_capacity_in_tokens() -> None:
    keys = analyze(scenario()).keys
    assert keys["kv_capacity_tokens"] == 17_899_345_920 // (16 * 245_760) * 16


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            {"model": "llama-3.1-70b"},
            "weights need 141.1 GB, usable HBM is 85.9 GB: at least 2 accelerators",
        ),
        (
            {"workload.document_tokens": 100_000, "serving.max_model_len": 131_072},
            "one session needs 24.58 GB of KV cache, 17.9 GB are left for it: at least 2 accelerators",
        ),
        (
            {"model": "deepseek-v3"},
            "weights need 1.342 TB, usable HBM is 85.9 GB: no tensor_parallel of paper-a100 is enough",
        ),
        (
            {"serving.activation_peak": "20 GiB"},
            "one session needs 12.29 GB of KV cache, 0 B are left for it: at least 2 accelerators",
        ),
    ],
)
def test_infeasible_scenarios_say_what_would_do(overrides: dict[str, object], reason: str) -> None:
    analysis = analyze(load_scenario("paper-34b-50k", overrides))
    assert not analysis.feasible
    assert analysis.keys["infeasible_reason"] == reason


def test_as_many_accelerators_as_the_reason_says_are_enough_and_no_fewer() -> None:
    """650K tokens take 160 GB: two leave 104 GB; three would leave 190 GB (for 180 GB), but do not divide 32 heads."""
    base = with_document(scenario(), 650_000)
    assert analyze(base).keys["infeasible_reason"].endswith("at least 4 accelerators")
    fits = {}
    for ranks in (1, 2, 3, 4):
        deployment = base.deployment.model_copy(update={"tensor_parallel": ranks})
        fits[ranks] = analyze(replace(base, deployment=deployment)).feasible
    assert fits == {1: False, 2: False, 3: True, 4: True}


def test_a_block_count_does_not_make_weights_fit() -> None:
    overrides = {"model": "llama-3.1-70b", "serving.num_gpu_blocks_override": 10_000}
    analysis = analyze(load_scenario("paper-34b-50k", overrides))
    assert analysis.keys["concurrent_sessions"] > 1
    assert analysis.keys["infeasible_reason"].startswith("weights need 141.1 GB, usable HBM is 85.9 GB")
