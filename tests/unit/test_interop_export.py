"""Scenarios as command lines: what an engine can do comes back as it was, what it cannot is said."""

from __future__ import annotations

import pytest

import ctxsim
from ctxsim.interop import Exported, export_command, import_command
from ctxsim.interop.flags import Engine
from ctxsim.spec.catalog import names
from ctxsim.spec.scenario import Scenario, load_scenario

ENGINES: tuple[Engine, ...] = ("vllm", "sglang")
RESTATED = {"serving.gpu_memory_utilization", "serving.activation_peak", "serving.runtime_reserve"}
"""What SGLang says otherwise, with the same bytes."""


def again(found: Exported, scenario: Scenario) -> Scenario:
    return import_command(
        found.text(), version=found.version, model=scenario.names.model, base=scenario.fleet[0]
    ).scenario


def differing(found: Exported) -> set[str]:
    return {one.field for one in found.cannot}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", names("scenario"))
def test_what_is_not_said_to_differ_comes_back(name: str, engine: Engine) -> None:
    """The text with its comments is pasted back; every field but those that it names is the scenario's."""
    scenario = load_scenario(name)
    found = export_command(scenario, engine)
    back = again(found, scenario)
    same = {"deployment.router"} if scenario.deployment.replicas == 1 else set()
    if not scenario.serving.host_kv_capacity:
        same |= {"serving.residency", "serving.host_tier"}
    for part in ("deployment", "serving"):
        ours, theirs = getattr(scenario, part), getattr(back, part)
        for key in type(ours).model_fields:
            name = f"{part}.{key}"
            assert (getattr(ours, key) == getattr(theirs, key)) or name in differing(found) | same, name


@pytest.mark.parametrize(
    ("name", "engine", "cannot"),
    [
        ("llama-8b-chat", "vllm", set()),
        ("llama-8b-chat", "sglang", RESTATED),
        ("yi-34b-50k-a100", "vllm", {"serving.host_tier"}),
        ("yi-34b-50k-a100", "sglang", {*RESTATED, "serving.host_kv_capacity"}),
        ("yi-34b-50k-one-a100", "vllm", {"serving.host_tier", "serving.residency"}),
        ("paper-34b-50k", "sglang", {"serving.host_kv_capacity"}),
        ("mooncake-replay", "vllm", {"deployment.router"}),
        ("llama-70b-mixed-fleet", "vllm", {"deployment.router", "deployment.groups", "serving.host_tier"}),
    ],
)
def test_what_engines_cannot_do_is_said(name: str, engine: Engine, cannot: set[str]) -> None:
    assert differing(export_command(load_scenario(name), engine)) == cannot


def test_a_scenario_that_vllm_can_serve_comes_back_whole() -> None:
    settings = {
        "serving.host_tier": "inclusive",
        "serving.kv_dtype": "int8",
        "serving.weight_dtype": "fp8",
        "serving.enable_prefix_caching": "false",
        "serving.num_gpu_blocks_override": "5000",
        "deployment.replicas": "2",
        "deployment.router": "least_loaded",
    }
    scenario = load_scenario("yi-34b-50k-a100", settings)
    found = export_command(scenario, "vllm")
    assert found.cannot == ()
    back = again(found, scenario)
    assert (back.serving, back.deployment) == (scenario.serving, scenario.deployment)
    assert found.command == (
        "vllm serve yi-34b-200k --tensor-parallel-size 2 --data-parallel-size 2 --num-gpu-blocks-override 5000 "
        "--kv-cache-dtype int8_per_token_head --kv-offloading-size 256 --max-model-len 200000 "
        "--no-enable-prefix-caching --quantization fp8"
    )


def test_a_scenario_that_sglang_can_serve_comes_back_whole() -> None:
    settings = {
        "serving.host_kv_capacity": "500 GB",
        "serving.num_gpu_blocks_override": "5000",
        "serving.scheduler": "prefill_first",
        "serving.enable_prefix_caching": "false",
        "serving.activation_peak": "0 B",
        "serving.runtime_reserve": "0 B",
    }
    scenario = load_scenario("yi-34b-50k-a100", settings)
    found = export_command(scenario, "sglang")
    # With a number of blocks the share of memory no longer decides anything.
    assert differing(found) == {"serving.gpu_memory_utilization"}
    assert again(found, scenario).serving.num_gpu_blocks_override == 5000


@pytest.mark.parametrize("name", ["yi-34b-50k-a100", "llama-8b-chat", "mooncake-replay"])
def test_sglang_gets_the_same_kv_pool_to_a_thousandth_of_the_memory(name: str) -> None:
    scenario = load_scenario(name)
    ours = ctxsim.analyze(scenario).keys["kv_capacity_bytes"]
    keys = ctxsim.analyze(again(export_command(scenario, "sglang"), scenario)).keys
    assert keys["kv_capacity_bytes"] == pytest.approx(ours, abs=keys["hbm_bytes"] * 0.0005 * (1 + 1e-9))


@pytest.mark.parametrize(
    ("engine", "divided"), [("vllm", {}), ("sglang", {}), ("vllm", {"deployment.context_parallel": 2})]
)
def test_replicas_of_several_nodes_come_back(engine: Engine, divided: dict[str, object]) -> None:
    """All accelerators of a group in one number, host memory that of all nodes; nodes are for a launcher to start."""
    settings = {"model": "llama-3.1-70b", "hardware": "h100-80gb-sxm", "deployment.tensor_parallel": 16}
    scenario = load_scenario("yi-34b-50k-a100", {**settings, "serving.max_model_len": 100_000, **divided})
    found = export_command(scenario, engine)
    back = again(found, scenario)
    size = {"vllm": "--tensor-parallel-size 16", "sglang": "--tp-size 16"}[engine]
    assert size in found.text()
    assert back.deployment.tensor_parallel == 16
    for field in ("deployment.context_parallel", "serving.host_kv_capacity"):
        part, key = field.split(".")
        assert getattr(getattr(back, part), key) == getattr(getattr(scenario, part), key) or field in differing(found)


def test_a_policy_that_no_engine_has_is_said() -> None:
    scenario = load_scenario("yi-34b-50k-a100", {"serving.scheduler": "fair", "serving.residency": "keep"})
    for engine in ENGINES:
        assert {"serving.scheduler", "serving.residency"} <= differing(export_command(scenario, engine))


def test_without_room_in_host_memory_to_swap_is_to_drop() -> None:
    """What the export takes to be the same is the same to the simulator, tier or not."""
    found = []
    for residency, tier in (("swap", "exclusive"), ("swap", "inclusive"), ("recompute", "exclusive")):
        settings = {"serving.residency": residency, "serving.host_tier": tier, "serving.host_kv_capacity": "0 B"}
        scenario = load_scenario("yi-34b-50k-one-a100", {**settings, "workload.num_sessions": 12, "workload.users": 6})
        found.append(ctxsim.simulate(scenario).summary)
    assert found[0]["recomputed_tokens"] > 0
    assert found[0] == found[1] == found[2]


def test_all_flags_can_be_written_out() -> None:
    scenario = load_scenario("llama-8b-chat")
    short, whole = export_command(scenario, "vllm"), export_command(scenario, "vllm", all_flags=True)
    assert short.command == "vllm serve llama-3.1-8b"
    for words in (
        "--tensor-parallel-size 1",
        "--gpu-memory-utilization 0.92",
        "--enable-prefix-caching",
        "--block-size 16",
    ):
        assert words in whole.command
    assert again(whole, scenario) == again(short, scenario)


def test_another_version_has_other_defaults() -> None:
    found = export_command(load_scenario("llama-8b-chat"), "vllm", version="0.11")
    assert found.command == "vllm serve llama-3.1-8b --gpu-memory-utilization 0.92"


def test_the_checkpoint_is_quoted() -> None:
    found = export_command(load_scenario("llama-8b-chat"), "sglang", checkpoint="my models/llama")
    assert "--model-path 'my models/llama'" in found.command


def test_the_text_says_what_differs_as_comments() -> None:
    lines = export_command(load_scenario("yi-34b-50k-one-a100"), "vllm").text().splitlines()
    assert lines[0] == "# vllm 0.33 on a100-80gb-sxm; what is not written is the default there"
    assert lines[1] == "# Otherwise than in the scenario:"
    assert lines[2].startswith("#   serving.residency: cheapest there, swap here: vLLM drops idle KV")
    assert lines[-1].startswith("vllm serve yi-34b-200k ")
    assert all(line.startswith("#") for line in lines[:-1])


def test_techniques_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    scenario = replace(load_scenario("llama-8b-chat"), techniques=("yoco",))
    assert differing(export_command(scenario, "vllm")) == {"techniques"}
