"""Files and command lines that are wrong in one way each, with the wording that they must get."""

from __future__ import annotations

import gzip
import json

from command_line import REQUESTS

from ctxsim.spec.catalog import find

SESSIONS = """\
name: talk
model: llama-3.1-8b
hardware: a100-80gb-sxm
workload: {kind: sessions, users: 2, document_tokens: 5000, question_tokens: 10, answer_tokens: 20, think_time: 5 s}
"""

TRACE = """\
name: replay
model: llama-3.1-8b
hardware: a100-80gb-sxm
workload: {kind: trace, trace: lines.jsonl, format: mooncake}
"""

LINES = """\
{"timestamp": 0, "input_length": 10, "output_length": 3, "hash_ids": [1]}
{"timestamp": 1, "input_length": "x", "output_length": 3, "hash_ids": [1]}
not json
{"timestamp": 5, "input_length": 0, "output_length": 3, "hash_ids": [1]}
"""


def edited(text: str, old: str, new: str) -> str:
    """The text with one thing changed, which must be there."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def profile(old: str, new: str) -> str:
    """A shipped hardware profile with one thing changed."""
    return edited(find("hardware", "paper-a100").read_text(), old, new)


def config(name: str, **changes: object) -> str:
    """A shipped config.json with some keys changed (None: taken out)."""
    fields = json.loads(find("model", name).read_text()) | changes
    return json.dumps({key: value for key, value in fields.items() if value is not None}, indent=1)


def files() -> dict[str, str | bytes]:
    """The files that the cases read."""
    layers = json.loads(find("model", "qwen3-next-80b-a3b").read_text())["num_hidden_layers"]
    odd_layers = ["warp_attention", *["full_attention"] * (layers - 1)]
    return {
        "good.yaml": REQUESTS,
        "unknown-key.yaml": edited(REQUESTS, "max_num_batched_tokens", "max_num_batchd_tokens"),
        "wrong-dimension.yaml": edited(REQUESTS, "ttft: 1 s", "ttft: 1 GB"),
        "missing-unit.yaml": edited(REQUESTS, "ttft: 1 s", "ttft: 1"),
        "negative.yaml": edited(REQUESTS, "ttft: 1 s", "ttft: -1 s"),
        "nan.yaml": edited(REQUESTS, "ttft: 1 s", "ttft: .nan"),
        "infinite.yaml": edited(REQUESTS, "tpot: 50 ms", "tpot: 1e999 s"),
        "missing-key.yaml": edited(REQUESTS, "model: llama-3.1-8b\n", ""),
        "several.yaml": edited(edited(REQUESTS, "2 /s", "2 s"), "num_requests: 10", "num_requests: ten"),
        "duplicate.yaml": REQUESTS + "name: again\n",
        "empty.yaml": "",
        "comments.yaml": "# nothing here\n",
        "binary.yaml": gzip.compress(REQUESTS.encode()),
        "list.yaml": "- name: test\n",
        "syntax.yaml": "name: test\nmodel: [llama\nhardware: x\n",
        "tab.yaml": "name: test\nworkload:\n\tkind: requests\n",
        "alias.yaml": "name: &a test\nmodel: *a\n",
        "sessions.yaml": SESSIONS,
        "trace.yaml": TRACE,
        "lines.jsonl": LINES,
        "rate-in-capitals.yaml": profile("{value: 2 TB/s,", "{value: 2 Tb/S,"),
        "amount-for-rate.yaml": profile("{value: 2 TB/s,", "{value: 2 TB,"),
        "bits-for-bytes.yaml": profile("hbm_bytes: {value: 80 GiB,", "hbm_bytes: {value: 80 Gb,"),
        "gbps.yaml": profile("{value: 20 GB/s,", "{value: 20 GBps,"),
        "unsourced.yaml": profile("bf16: {value: 312 TFLOP/s, source: paper}", "bf16: 312 TFLOP/s"),
        "layers/config.json": config("qwen3-next-80b-a3b", layer_types=odd_layers),
        "type/config.json": config("llama-3.1-8b", model_type="lama"),
        "no-type/config.json": config("llama-3.1-8b", model_type=None),
        "no-size/config.json": config("llama-3.1-8b", hidden_size=None),
    }


def setting(*settings: str) -> tuple[str, ...]:
    """Analyze the good scenario with these set."""
    return ("analyze", "good.yaml", *(word for s in settings for word in ("--set", s)))


BAD_INPUT = {
    "unknown key, nearest named": (
        ("analyze", "unknown-key.yaml"),
        'unknown-key.yaml:4:11: serving.max_num_batchd_tokens: expected a known key, found "max_num_batchd_tokens"; '
        'did you mean "max_num_batched_tokens"?',
    ),
    "unit of another dimension": (
        ("analyze", "wrong-dimension.yaml"),
        'wrong-dimension.yaml:11:13: slo.ttft: expected a duration, found "GB", which is an amount of bytes',
    ),
    "bits and bytes a second kept apart": (
        ("hardware", "show", "rate-in-capitals.yaml"),
        'found the unknown unit "Tb/S"; did you mean "TB/s" or "Tb/s"?',
    ),
    "an amount where a rate is wanted": (
        ("hardware", "show", "amount-for-rate.yaml"),
        "accelerator.hbm_bytes_per_s.value: expected a rate in bytes or bits per second, "
        'found "TB", which is an amount of bytes; did you mean "TB/s"?',
    ),
    "bits where bytes are wanted": (
        ("hardware", "show", "bits-for-bytes.yaml"),
        'accelerator.hbm_bytes.value: expected an amount of bytes, found the unknown unit "Gb"; did you mean "GB"?',
    ),
    "another spelling of a unit": (
        ("hardware", "show", "gbps.yaml"),
        'host_link.bytes_per_s.value: expected a rate in bytes or bits per second, found the unknown unit "GBps"; '
        'did you mean "GB/s"?',
    ),
    "number without its source": (
        ("hardware", "show", "unsourced.yaml"),
        'accelerator.peak_flop_per_s.bf16: expected a mapping of keys to values, found "312 TFLOP/s"',
    ),
    "missing unit": (
        ("analyze", "missing-unit.yaml"),
        'missing-unit.yaml:11:13: slo.ttft: expected a duration with its unit, found 1 without one; write e.g. "60 s"',
    ),
    "negative quantity": (
        ("analyze", "negative.yaml"),
        'slo.ttft: expected a duration of at least zero, found "-1 s"; write e.g. "60 s"',
    ),
    "negative count": (
        setting("workload.num_requests=-1"),
        "--set workload.num_requests=-1: workload.num_requests: expected a number of at least 1, found -1",
    ),
    "NaN": (("analyze", "nan.yaml"), "nan.yaml:11:13: slo.ttft: expected a duration of finite size, found"),
    "NaN for a ratio": (setting("serving.gpu_memory_utilization=.nan"), "expected a finite number, found nan"),
    "infinite quantity": (
        ("analyze", "infinite.yaml"),
        'infinite.yaml:11:24: slo.tpot: expected a duration of finite size, found "1e999 s"',
    ),
    "missing key": (
        ("analyze", "missing-key.yaml"),
        "missing-key.yaml:1:1: model: expected a value, found nothing; this key is required",
    ),
    "duplicate key, both lines": (
        ("analyze", "duplicate.yaml"),
        'duplicate.yaml:12:1: name: expected each key once, found "name" again (first on line 1); keep one of them',
    ),
    "unknown layer kind": (
        ("model", "show", "layers/config.json"),
        'layer_types: expected one of full_attention, linear_attention, found "warp_attention"',
    ),
    "unknown model_type": (("model", "show", "type"), 'found "lama"; did you mean "llama"?'),
    "no model_type": (("model", "show", "no-type"), "no-type/config.json:1:1: model_type: expected one of cohere"),
    "no hidden_size": (("model", "show", "no-size/config.json"), "hidden_size"),
    "model that is a scenario": (
        ("model", "show", "good.yaml"),
        "good.yaml:1:1: num_parameters: expected a value, found nothing; this key is required",
    ),
    "missing file": (("analyze", "gone.yaml"), "gone.yaml: expected a file, found none of that name; check the path"),
    "empty file": (("analyze", "empty.yaml"), "empty.yaml: expected a mapping of keys to values, found an empty file"),
    "file of comments": (("analyze", "comments.yaml"), "comments.yaml: expected a mapping of keys to values, found"),
    "binary file": (
        ("analyze", "binary.yaml"),
        "binary.yaml: expected UTF-8 text (YAML or JSON), found binary data",
    ),
    "folder": (("analyze", "folder.yaml"), "folder.yaml: expected a file, found a folder; name a file inside it"),
    "list at the top": (
        ("analyze", "list.yaml"),
        "list.yaml:1:1: expected a mapping of keys to values at the top level, found a list; write e.g. name: my-name",
    ),
    "wrong syntax": (("analyze", "syntax.yaml"), "expected YAML or JSON, found wrong syntax"),
    "tab": (("analyze", "tab.yaml"), "tab.yaml:3:1: expected YAML or JSON, found wrong syntax"),
    "alias": (("analyze", "alias.yaml"), "alias.yaml:2:1: model: expected a value, found an alias (*name)"),
    "trace without a file": (
        ("analyze", "trace.yaml", "--set", "workload.trace=gone.jsonl"),
        'workload.trace: expected a trace file, found none at "gone.jsonl"; check the path',
    ),
    "unknown trace format": (
        ("analyze", "trace.yaml", "--set", "workload.format=moncake"),
        'expected one of mooncake, azure, agentic, vllm-bench, found "moncake"; did you mean "mooncake"?',
    ),
    "prompt of no tokens": (
        setting("workload.prompt_tokens=0"),
        "workload.prompt_tokens: expected at least 1 token, found 0; write a length of 1 or more",
    ),
    "answer beyond the context window": (
        setting("serving.max_model_len=2100"),
        "good.yaml:7:18: workload.prompt_tokens: expected prompt + output of at most max_model_len (2100 tokens), "
        "found 2304; shorten it or raise serving.max_model_len",
    ),
    "tensor parallelism that does not divide the heads": (
        setting("deployment.tensor_parallel=3"),
        "expected a divisor of the 32 attention heads of llama-3.1-8b, found 3; 1, 2, 4, 8, 16, 32 would do",
    ),
    "tensor parallelism beyond the machine": (
        setting("hardware=a100-80gb-pcie", "deployment.tensor_parallel=16"),
        "expected at most 8 (what the scale-up link of a100-80gb-pcie joins; its profile has no scale_out to go "
        "further), found 16; lower it and add replicas",
    ),
    "unknown hardware": (
        setting("hardware=h100-80gb-sxn"),
        'hardware: expected the name of a hardware profile or a path to its file, found "h100-80gb-sxn"; '
        'did you mean "h100-80gb-sxm"?',
    ),
    "unknown host": (("hardware", "show", "h200-sxm", "--host", "grase"), 'found "grase"; did you mean "grace"?'),
    "unknown model": (setting("model=llama-3.1-8"), 'found "llama-3.1-8"; did you mean "llama-3.1-8b"?'),
    "unknown scenario": (("analyze", "paper-34b-5k"), 'found "paper-34b-5k"; did you mean "paper-34b-'),
    "--set without a value": (
        setting("serving.kv_dtype"),
        '--set: expected KEY=VALUE, found "serving.kv_dtype"; write e.g. --set serving.kv_dtype=fp8',
    ),
    "--set without a key": (setting("=fp8"), '--set: expected KEY=VALUE, found "=fp8"'),
    "--set twice": (
        setting("slo.ttft=1 s", "slo.ttft=2 s"),
        "--set slo.ttft=2 s: slo.ttft: expected each key once, found it again",
    ),
    "--set of an unknown key": (
        setting("serving.kv_dtpe=fp8"),
        '--set serving.kv_dtpe=fp8: serving.kv_dtpe: expected a known key, found "kv_dtpe"; did you mean "kv_dtype"?',
    ),
    "--set of an unknown part": (
        setting("servin.kv_dtype=fp8"),
        '--set servin.kv_dtype=fp8: servin: expected a known key, found "servin"; did you mean "serving"?',
    ),
    "--set through a value": (
        setting("name.first=x"),
        "--set name.first=x: name.first: expected a mapping at name, found a single value; set name whole",
    ),
    "--set of wrong syntax": (setting("workload.arrival={kind: poisson"), "found wrong syntax"),
    "unknown number format": (
        setting("serving.kv_dtype=fp7"),
        'expected one of bf16, fp32, fp8, int8, int4, int4_scale, kivi2, kvquant3, wkvquant4, found "fp7"; '
        'did you mean "fp8"?',
    ),
    "token budget below the batch": (
        setting("serving.max_num_batched_tokens=100"),
        "serving.max_num_batched_tokens: expected at least max_num_seqs (256), found 100; raise it or lower",
    ),
    "a calibration at fidelity peak": (
        setting("calibration=a100-80gb-sxm-vllm"),
        'calibration: expected none at fidelity peak, found "a100-80gb-sxm-vllm"; write fidelity: calibrated',
    ),
    "techniques that are not shipped": (
        setting("techniques=[yoco, kv-fp5]"),
        'techniques[1]: expected the name of a technique or a path to its file, found "kv-fp5"; did you mean',
    ),
    "pipeline parallelism": (setting("deployment.pipeline_parallel=2"), "expected 1 (more is not modelled in this"),
    "negative seed": (
        ("simulate", "good.yaml", "--set", "run.seed=-1"),
        "--set run.seed=-1: run.seed: expected a number of at least 0, found -1",
    ),
    "endless closed loop": (
        ("simulate", "sessions.yaml"),
        "sessions.yaml: run.horizon: expected run.horizon or workload.num_sessions, found neither: "
        'the simulation would never end; set one of them, e.g. run.horizon="4 hours"',
    ),
    "SLO gate without an SLO": (
        ("simulate", "good.yaml", "--fail-on-slo", "--set", "slo={}"),
        "good.yaml: slo: expected a limit for --fail-on-slo, found none; write e.g. slo: {ttft: 2 s, tpot: 100 ms}",
    ),
    "results into a file": (
        ("simulate", "good.yaml", "--out", "good.yaml"),
        "good.yaml: expected a folder for results, found a file of that name; name another one",
    ),
    "results below a file": (
        ("simulate", "good.yaml", "--out", "good.yaml/results"),
        "good.yaml/results: expected a folder for results, found a place where none can be made",
    ),
}

USAGE = {
    "unknown command": (("analyse", "good.yaml"), "No such command 'analyse'. Did you mean 'analyze'?"),
    "unknown option": (("analyze", "good.yaml", "--show-wrok"), "No such option: --show-wrok"),
    "missing argument": (("analyze",), "Missing argument 'SCENARIO'"),
    "unknown stepping": (("simulate", "good.yaml", "--stepping", "double"), "'--stepping'"),
    "negative --seed": (("simulate", "good.yaml", "--seed", "-1"), "'--seed'"),
    "unknown schema": (("schema", "scenarios"), "'scenarios' is not one of 'scenario', 'hardware', 'host', 'model'"),
}
