"""Command lines of engines as scenarios: every word is read, listed or refused; defaults are the version's."""

from __future__ import annotations

import pytest

from ctxsim.errors import SpecError
from ctxsim.interop import Imported, import_command, scenario_text
from ctxsim.interop.checkpoints import FORMATS, Formats, weight_format
from ctxsim.interop.command_line import HIDDEN, read_command
from ctxsim.interop.flags import FOLDER, FlagTable, flag_table, versions
from ctxsim.interop.importing import assumptions
from ctxsim.interop.memory import static_fraction
from ctxsim.spec.catalog import names
from ctxsim.spec.document import parse_document, read_document
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.scenario import Scenario, load_scenario, resolve_scenario
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.validation import validate
from ctxsim.units import parse

TABLES = sorted(path.stem.split("-", 1) for path in FOLDER.glob("*.yaml"))
VLLM = "vllm serve meta-llama/Llama-3.1-8B-Instruct"
SGLANG = "python -m sglang.launch_server --model-path Qwen/Qwen3-32B"


def statuses(found: Imported) -> dict[str, str]:
    return {use.flag: use.status for use in found.uses if use.status != "default"}


def fault(text: str, **options: str) -> str:
    with pytest.raises(SpecError) as refused:
        import_command(text, **options)
    return str(refused.value)


@pytest.mark.parametrize(("engine", "version"), TABLES)
def test_a_table_names_real_fields_and_each_flag_once(engine: str, version: str) -> None:
    table = flag_table(engine, version)
    spelled = list(table.spellings())
    assert len(spelled) == len(set(spelled))
    named = [flag.field for flag in table.flags if flag.field] + [*table.always, *table.cannot]
    named += [name for flag in table.flags for name in (*flag.implies, *flag.emit_unless)]
    for name in named:
        part, key = name.split(".")
        assert key in ScenarioFile.model_fields[part].annotation.model_fields


@pytest.mark.parametrize(("engine", "version"), TABLES)
def test_every_default_that_matters_has_a_source(engine: str, version: str) -> None:
    flags = [flag for flag in flag_table(engine, version).flags if flag.field or flag.later]
    assert all(flag.source for flag in flags if flag.default is not None or flag.default_from)


def test_versions_are_known_by_number() -> None:
    assert versions("vllm") == ["0.11", "0.33"]
    message = fault(VLLM, version="0.20")
    assert (
        message == "--engine-version: expected a version of vllm with a table of flags, found 0.20; known: 0.11, 0.33"
    )


def test_every_way_to_write_a_flag_is_read() -> None:
    found = import_command(
        r"""CUDA_VISIBLE_DEVICES=0,1 /usr/bin/vllm serve meta-llama/Llama-3.1-70B-Instruct \
            -tp 4 --pipeline_parallel_size=1 --max-model-len=128K \
            --speculative-config '{"method": "eagle", "num_speculative_tokens": 3}' \
            --compilation-config.level 3 -O3 --served-model-name big bigger \
            --no-enable-prefix-caching --kv-cache-dtype "fp8" """
    )
    scenario = found.scenario
    assert scenario.model.name == "llama-3.1-70b"
    assert scenario.deployment.tensor_parallel == 4
    assert scenario.serving.max_model_len == 131072
    assert scenario.serving.kv_dtype == "fp8"
    assert scenario.serving.enable_prefix_caching is False
    assert found.unread == ("CUDA_VISIBLE_DEVICES=0,1",)
    assert statuses(found) == {
        "-tp": "used",
        "--pipeline_parallel_size": "used",
        "--max-model-len": "used",
        "--speculative-config": "not_modelled",
        "--compilation-config.level": "not_modelled",
        "-O": "not_modelled",
        "--served-model-name": "no_effect",
        "--no-enable-prefix-caching": "used",
        "--kv-cache-dtype": "used",
    }


@pytest.mark.parametrize(
    ("typed", "tokens"), [("131072", 131072), ("128k", 128000), ("128K", 131072), ("1M", 2**20), ("25.6k", 25600)]
)
def test_numbers_are_read_as_vllm_reads_them(typed: str, tokens: int) -> None:
    found = import_command(f"vllm serve gpt-oss-20b --max-num-batched-tokens {typed}")
    assert found.scenario.serving.max_num_batched_tokens == tokens


def test_a_window_that_the_engine_chooses_is_the_models() -> None:
    for typed in ("auto", "-1"):
        assert import_command(f"{VLLM} --max-model-len {typed}").scenario.serving.max_model_len is None


@pytest.mark.parametrize(
    ("hardware", "version", "tokens", "seqs", "utilization"),
    [
        ("a100-80gb-sxm", "0.33", 2048, 256, 0.92),
        ("h100-80gb-sxm", "0.33", 8192, 1024, 0.92),
        ("b200-sxm", "0.33", 16384, 1024, 0.92),
        ("l40s", "0.33", 2048, 256, 0.92),
        ("b200-sxm", "0.11", 8192, 1024, 0.9),
        ("a100-80gb-sxm", "0.11", 2048, 256, 0.9),
    ],
)
def test_defaults_are_those_of_the_version_and_machine(
    hardware: str, version: str, tokens: int, seqs: int, utilization: float
) -> None:
    serving = import_command(VLLM, hardware=hardware, version=version).scenario.serving
    assert (serving.max_num_batched_tokens, serving.max_num_seqs) == (tokens, seqs)
    assert serving.gpu_memory_utilization == utilization
    assert (serving.block_size, serving.enable_prefix_caching) == (16, True)
    assert (serving.residency, serving.scheduler) == ("recompute", "fcfs")


def test_a_default_gives_way_to_the_token_budget() -> None:
    serving = import_command(f"{VLLM} --max-num-batched-tokens 512").scenario.serving
    assert serving.max_num_seqs == 512


def test_offloading_is_of_each_engine_and_written_through() -> None:
    found = import_command(f"{VLLM} -tp 2 -dp 2 --kv-offloading-size 64")
    serving, deployment = found.scenario.serving, found.scenario.deployment
    assert serving.host_kv_capacity == parse("128 GiB", "bytes")
    assert (serving.residency, serving.host_tier) == ("swap", "inclusive")
    assert (deployment.replicas, deployment.router) == (2, "least_loaded")


def test_kv_memory_becomes_blocks() -> None:
    # 8 KV heads of 128, keys and values, 32 layers, 2 bytes: 131,072 B a token, 2 MiB a block of 16.
    found = import_command(f"{VLLM} --kv-cache-memory-bytes 20G")
    assert found.scenario.serving.num_gpu_blocks_override == 10240
    assert found.origins["serving.num_gpu_blocks_override"] == "--kv-cache-memory-bytes 20G"


def test_an_older_engine_does_not_know_newer_flags() -> None:
    found = import_command(f"{VLLM} --kv-offloading-size 64 --swap-space 16", version="0.11")
    assert statuses(found) == {"--kv-offloading-size": "unknown", "--swap-space": "no_effect"}
    assert found.scenario.serving.host_kv_capacity == 0
    assert statuses(import_command(f"{VLLM} --swap-space 16"))["--swap-space"] == "unknown"


def test_sglang_prefills_first_and_keeps_its_reserves_outside() -> None:
    serving = import_command(SGLANG, hardware="h200-sxm").scenario.serving
    assert serving.scheduler == "prefill_first"
    assert (serving.activation_peak, serving.runtime_reserve) == (0, 0)
    assert (serving.block_size, serving.max_num_batched_tokens, serving.max_num_seqs) == (1, 8192, 2048)
    assert import_command(f"{SGLANG} --enable-mixed-chunk").scenario.serving.scheduler == "fcfs"
    assert not import_command(f"{SGLANG} --disable-radix-cache").scenario.serving.enable_prefix_caching


def test_the_static_share_follows_the_rule_of_sglang() -> None:
    # 141 GB label; the rule by hand: 512 + 1.5 x 8192 + 128 x 1 + 2 x 256 MiB = 13,440 MiB are left out.
    h200 = load_hardware("h200-sxm")
    memory_mib = h200.hbm_bytes / parse("1 MiB", "bytes")
    assert static_fraction(h200, 1, 8192) == round((memory_mib - 13440) / memory_mib, 3)
    # Of large memories 10 GiB are kept at least.
    assert static_fraction(h200, 1, 2048) == round((memory_mib - 10240) / memory_mib, 3)


def test_hierarchical_cache_has_a_size_or_a_share_of_the_pool() -> None:
    sized = import_command(f"{SGLANG} --tp 2 --enable-hierarchical-cache --hicache-size 100").scenario.serving
    assert sized.host_kv_capacity == parse("200 GB", "bytes")
    assert (sized.residency, sized.host_tier) == ("swap", "inclusive")
    whole = f"{SGLANG} --enable-hicache --max-total-tokens 10000 --hicache-ratio"
    # 64 layers, 8 KV heads of 128: 262,144 B a token.
    assert import_command(f"{whole} 3").scenario.serving.host_kv_capacity == pytest.approx(
        3 * 10000 * 262144, rel=1e-12
    )
    idle = import_command(f"{SGLANG} --hicache-size 100")
    assert idle.scenario.serving.host_kv_capacity == 0
    assert statuses(idle) == {"--hicache-size": "no_effect"}


def test_attention_parallel_by_data_adds_no_replicas() -> None:
    found = import_command(f"{SGLANG} --tp 8 --dp 8 --enable-dp-attention")
    assert found.scenario.deployment.replicas == 1
    assert statuses(found) == {"--tp": "used", "--dp": "no_effect", "--enable-dp-attention": "not_modelled"}


def test_words_that_are_not_modelled_leave_the_default_and_are_said() -> None:
    found = import_command(f"{VLLM} --kv-cache-dtype nvfp4 --no-enable-chunked-prefill --frobnicate 3 --max-num-seq 4")
    assert found.scenario.serving.kv_dtype == "bf16"
    assert found.warnings == (
        "--frobnicate 3: not in the table of vLLM 0.33",
        '--max-num-seq 4: not in the table of vLLM 0.33; did you mean "--max-num-seqs"?',
        "--kv-cache-dtype nvfp4: not modelled: 4-bit KV with block scales",
        "--no-enable-chunked-prefill: not modelled: prompts are always computed in chunks of the token budget",
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--tensor-parallel-size 3", "--tensor-parallel-size 3: deployment.tensor_parallel: expected a divisor"),
        ("-pp 2", "-pp 2: deployment.pipeline_parallel: expected 1 (more is not modelled in this version), found 2"),
        ("-tp two", '-tp two: deployment.tensor_parallel: expected a whole number, found "two"; write e.g. 8'),
        ("-tp", "-tp: deployment.tensor_parallel: expected a value after it, found none; write e.g."),
        ("--max-model-len 12x", 'serving.max_model_len: expected a whole number, 128k or 128K, found "12x"'),
        ("--max-model-len 1.5K", 'expected no fraction before K, found "1.5K"; write 1.5k or a whole number'),
        ("--kv-cache-dtype fp9", '--kv-cache-dtype fp9: serving.kv_dtype: expected one of its words, found "fp9"'),
        ("--gpu-memory-utilization 1.5", "serving.gpu_memory_utilization: expected a number of at most 1, found 1.5"),
        ("--kv-offloading-size -3", "expected at least zero"),
        ("--enable-prefix-caching=yes", 'expected true, false or nothing, found "yes"; leave the value out'),
        ("--max-num-batched-tokens 64 --max-num-seqs 65", "serving.max_num_batched_tokens: expected at least max_num"),
        ("--kv-offloading-size 99999", "--kv-offloading-size 99999: serving.host_kv_capacity: expected at most"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_by_the_flags_name(flags: str, message: str) -> None:
    assert message in fault(f"{VLLM} {flags}")


def test_all_faults_of_values_are_reported_at_once() -> None:
    assert len(fault(f"{VLLM} -tp two --max-model-len 12x --kv-cache-dtype fp9").splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("docker run it", 'expected vllm serve ... or python -m sglang.launch_server ..., found "docker run it"'),
        ("vllm serve 'x", "expected quotes in pairs, found no closing quotation; close the quote"),
        ("vllm serve", "expected the model that is served, found none; write it after the command"),
        ("vllm serve nobody/knows-7b", 'expected a checkpoint of a shipped model, found "nobody/knows-7b"'),
    ],
)
def test_what_is_no_command_is_refused(text: str, message: str) -> None:
    assert message in fault(text)


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b"),
        ("deepseek-ai/DeepSeek-V3.2-Exp", "deepseek-v3.2"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek-v3"),
        ("CohereForAI/c4ai-command-r-plus", "command-r-plus"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b"),
        ("/models/gpt-oss-120b/", "gpt-oss-120b"),
        ("yi-34b-200k", "yi-34b-200k"),
    ],
)
def test_a_checkpoint_stands_for_a_shipped_model(checkpoint: str, name: str) -> None:
    assert import_command(f"vllm serve {checkpoint} -tp 1", hardware="b200-sxm").scenario.model.name == name


def test_a_checkpoint_of_another_size_is_not_taken_for_one() -> None:
    assert "expected a checkpoint of a shipped model" in fault("vllm serve deepseek-ai/DeepSeek-V3.1")


def test_model_and_hardware_can_be_said() -> None:
    found = import_command("vllm serve nobody/knows-7b", model="mistral-7b", hardware="a100-80gb-sxm")
    assert (found.scenario.model.name, found.scenario.hardware.name) == ("mistral-7b", "a100-80gb-sxm")
    assert "expected the name of a hardware profile" in fault(VLLM, hardware="a101")


def test_a_script_is_read_up_to_the_end_of_the_command() -> None:
    script = """#!/bin/bash
set -e
# 4 GPUs
export VLLM_LOGGING_LEVEL=DEBUG
nohup vllm serve Qwen/Qwen3-32B \\
  -tp 4
  --max-model-len 32k > server.log 2>&1 &
curl localhost:8000/health
"""
    command = read_command(script)
    assert command.arguments == ("Qwen/Qwen3-32B", "-tp", "4", "--max-model-len", "32k")
    assert command.environment == ("VLLM_LOGGING_LEVEL=DEBUG",)
    assert "curl" in command.around
    assert import_command(script).scenario.serving.max_model_len == 32000


def test_a_quoted_value_may_span_lines() -> None:
    found = import_command(f'{VLLM} --hf-overrides \'{{"a": 1,\n "b": 2}}\' -tp 2')
    assert found.scenario.deployment.tensor_parallel == 2


def test_secrets_are_hidden() -> None:
    found = import_command(f"HF_TOKEN=hf_abc {VLLM} --api-key sk-1 --hf-token 'two words'")
    text = scenario_text(found, based=False)
    for secret in ("hf_abc", "sk-1", "two words"):
        assert secret not in text + str(found.uses) + str(found.warnings) + found.command
    assert text.count(HIDDEN) >= 3


def reread(found: Imported) -> Scenario:
    return resolve_scenario(parse_document(scenario_text(found, based=False), "again.yaml"))


@pytest.mark.parametrize("text", [VLLM, f"{VLLM} -dp 2 --kv-offloading-size 64 --x '#: {{'", SGLANG])
def test_the_file_gives_the_same_scenario(text: str) -> None:
    found = import_command(text)
    assert reread(found) == found.scenario


def test_the_file_says_where_every_value_is_from() -> None:
    text = scenario_text(import_command(f"{VLLM} -tp 2 --frobnicate --speculative-config x"), based=False)
    lines = {line.split(":")[0].strip(): line for line in text.splitlines() if not line.startswith("#")}
    assert lines["tensor_parallel"].endswith("# -tp 2")
    assert "default of vLLM 0.33, vllm/config/cache.py" in lines["gpu_memory_utilization"]
    assert "no flag of the engine" in lines["disk_kv_capacity"]
    assert "assumed, since the command does not say it" in lines["hardware"]
    assert str(assumptions()["hardware"]) in lines["hardware"]
    assert "#   --speculative-config x: speculative decoding" in text
    assert "#   --frobnicate\n" in text
    assert "# Workload and run: assumed" in text


def test_workload_and_prices_come_from_another_scenario() -> None:
    base = load_scenario("yi-34b-50k-a100", {"price.accelerator": "9 USD/hour"})
    found = import_command("vllm serve 01-ai/Yi-34B-200K -tp 2", base=base).scenario
    assert (found.workload, found.slo, found.run) == (base.workload, base.slo, base.run)
    assert (found.hardware, found.price) == (base.hardware, base.price)
    elsewhere = import_command("vllm serve 01-ai/Yi-34B-200K -tp 2", base=base, hardware="h200-sxm").scenario
    assert elsewhere.price.accelerator_usd_per_s == elsewhere.hardware.accelerator_usd_per_s


def test_a_table_that_says_two_things_of_a_flag_is_refused() -> None:
    flag = {"name": "--x", "kind": "whole", "field": "serving.block_size", "no_effect": "why"}
    with pytest.raises(ValueError, match="expected one of field, later, no_effect, not_modelled for --x"):
        FlagTable.model_validate({"engine": "vllm", "version": "1", "shown": "x", "flags": [flag]})


@pytest.mark.parametrize(
    ("command", "weights"),
    [
        ("vllm serve nvidia/Llama-3.1-8B-Instruct-FP8", "fp8"),
        ("vllm serve Qwen/Qwen3-32B-AWQ", "int4"),
        ("vllm serve Qwen/Qwen3-32B-AWQ --quantization fp8", "fp8"),
        ("vllm serve deepseek-ai/DeepSeek-V3 -tp 8", "fp8"),
        ("vllm serve unsloth/gpt-oss-20b-BF16", "bf16"),
        ("vllm serve openai/gpt-oss-20b", "int4"),
        (VLLM, "bf16"),
    ],
)
def test_weights_come_in_the_format_of_the_checkpoint(command: str, weights: str) -> None:
    assert import_command(command, hardware="b200-sxm").scenario.serving.weight_dtype == weights


def test_the_file_says_how_the_format_of_weights_is_known() -> None:
    found = import_command("vllm serve nvidia/Llama-3.1-8B-Instruct-FP8")
    assert found.origins["serving.weight_dtype"] == '"fp8" in the name of the checkpoint'


def test_formats_of_published_weights_are_of_shipped_models() -> None:
    formats = validate(Formats, read_document(FORMATS))
    assert set(formats.published) <= set(names("model"))
    assert {*formats.published.values(), *formats.named.values()} <= {"bf16", "fp8", "int8", "int4"}


def test_of_a_flag_given_twice_the_last_counts_and_the_first_is_listed() -> None:
    found = import_command(f"{VLLM} -tp 2 --tensor-parallel-size 4 --no-enable-prefix-caching --enable-prefix-caching")
    assert found.scenario.deployment.tensor_parallel == 4
    assert found.scenario.serving.enable_prefix_caching
    again = [(use.flag, use.value) for use in found.uses if use.note == "given again after it"]
    assert again == [("-tp", "2"), ("--no-enable-prefix-caching", None)]


@pytest.mark.parametrize(
    ("checkpoint", "model", "weights"),
    [
        ("Qwen/Qwen2.5-14B-Instruct-GPTQ-Int4", "qwen2.5-14b", "int4"),
        ("Qwen/Qwen2.5-14B-Instruct-GPTQ-Int8", "qwen2.5-14b", "int8"),
        ("neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w8a8", "llama-3.1-70b", "int8"),
        ("a/Llama-3.1-70B-W8A8-FP8", "llama-3.1-70b", "fp8"),
        ("nvidia/DeepSeek-V3.2-NVFP4", "deepseek-v3.2", "int4"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3", "fp8"),
        ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b", None),
    ],
)
def test_the_format_of_weights_by_name(checkpoint: str, model: str, weights: str | None) -> None:
    """How many bits a name says counts before the method, which has several."""
    found = weight_format(checkpoint, model)
    assert (None if found is None else found[0]) == weights
