"""Scenarios: what ships loads, what is wrong is refused with its place, and no input at all gives a traceback."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.errors import SpecError
from ctxsim.spec import catalog
from ctxsim.spec.document import Document, parse_document
from ctxsim.spec.scenario import load_scenario, resolve_scenario

SCENARIO = """\
name: case
model: llama-3.1-8b
hardware: a100-80gb-sxm
deployment: {tensor_parallel: 2}
serving:
  max_model_len: 4096
  kv_dtype: bf16
workload:
  kind: requests
  prompt_tokens: 2048
  output_tokens: 256
  arrival: {kind: poisson, rate: 2 /s}
  num_requests: 10
"""
"""A good scenario; every test below breaks one thing in it."""


def refusal(text):
    with pytest.raises(SpecError) as caught:
        resolve_scenario(parse_document(text, "s.yaml"))
    return str(caught.value)


def broken(old, new):
    assert old in SCENARIO
    return refusal(SCENARIO.replace(old, new))


@pytest.mark.parametrize("name", catalog.names("scenario"))
def test_every_shipped_scenario_loads_without_warning(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.warnings == ()
    assert hash(scenario) == hash(load_scenario(name))


@pytest.mark.parametrize("name", catalog.names("scenario"))
def test_a_scenario_written_out_loads_as_the_same(name, tmp_path):
    scenario = load_scenario(name)
    path = tmp_path / "elsewhere.yaml"
    path.write_text(scenario.to_yaml())
    again = load_scenario(path)
    assert again.sha256 == scenario.sha256
    assert again.serving == scenario.serving
    assert again.price == scenario.price


def test_values_are_in_si_and_prices_come_from_the_profile_unless_given():
    text = SCENARIO + "slo: {ttft: 20 s, tpot: 100 ms}\nprice: {accelerator: 3.60 USD/hour}\n"
    scenario = resolve_scenario(parse_document(text, "s.yaml"))
    assert (scenario.slo.ttft, scenario.slo.tpot, scenario.workload.arrival.rate) == (20, 0.1, 2)
    assert scenario.price.accelerator_usd_per_s == pytest.approx(0.001)
    assert scenario.price.energy_usd_per_j == scenario.hardware.energy_usd_per_j


def test_defaults_are_those_of_the_design():
    scenario = resolve_scenario(parse_document(SCENARIO, "s.yaml"))
    serving = scenario.serving
    assert (serving.gpu_memory_utilization, serving.block_size, serving.max_num_seqs) == (0.92, 16, 256)
    assert (serving.max_num_batched_tokens, serving.weight_dtype, serving.residency) == (2048, "bf16", "swap")
    assert (serving.activation_peak, serving.runtime_reserve, serving.iteration_overhead) == ("auto", 2**30, 0)
    assert (scenario.deployment.router, scenario.run.seed, scenario.run.warmup) == ("round_robin", 0, "auto")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kv_dtype: bf16",
            "kv_dtpye: bf16",
            's.yaml:7:3: serving.kv_dtpye: expected a known key, found "kv_dtpye"; did you mean "kv_dtype"?',
        ),
        (
            "kv_dtype: bf16",
            "kv_dtype: fp16",
            's.yaml:7:13: serving.kv_dtype: expected one of bf16, fp8, int8, int4, found "fp16"; did you mean "bf16"?',
        ),
        (
            "rate: 2 /s",
            "rate: 2",
            "s.yaml:12:34: workload.arrival.rate: expected a rate of arrivals with its unit, found 2 without one; "
            'write e.g. "0.2 /s"',
        ),
        (
            "rate: 2 /s",
            "rate: 2 s",
            "s.yaml:12:34: workload.arrival.rate: expected a rate of arrivals, "
            'found "s", which is a duration; did you mean "/s"?',
        ),
        (
            "rate: 2 /s",
            "rate: -2 /s",
            "s.yaml:12:34: workload.arrival.rate: expected a rate of arrivals of at least zero, "
            'found "-2 /s"; write e.g. "0.2 /s"',
        ),
        (
            "rate: 2 /s",
            "rate: .nan",
            "s.yaml:12:34: workload.arrival.rate: expected a rate of arrivals of finite size, "
            'found "nan"; write e.g. "0.2 /s"',
        ),
        (
            "kv_dtype: bf16",
            "host_kv_capacity: 5 GB/s",
            "s.yaml:7:21: serving.host_kv_capacity: expected an amount of bytes, "
            'found "GB/s", which is a rate in bytes or bits per second; did you mean "GB"?',
        ),
        (
            "kv_dtype: bf16",
            "max_model_len: 8192",
            's.yaml:7:3: serving.max_model_len: expected each key once, found "max_model_len" again '
            "(first on line 6); keep one of them",
        ),
        (
            "num_requests: 10",
            "num_requests: 0",
            "s.yaml:13:17: workload.num_requests: expected a number of at least 1, found 0",
        ),
        (
            "num_requests: 10",
            "num_requests: true",
            "s.yaml:13:17: workload.num_requests: expected a whole number, found true",
        ),
        (
            "prompt_tokens: 2048",
            "prompt_tokens: 0",
            "s.yaml:10:18: workload.prompt_tokens: expected at least 1 token, found 0; write a length of 1 or more",
        ),
        (
            "output_tokens: 256",
            "output_tokens: 5000",
            "s.yaml:10:18: workload.prompt_tokens: expected prompt + output of at most max_model_len (4096 tokens), "
            "found 7048; shorten it or raise serving.max_model_len",
        ),
        (
            "output_tokens: 256",
            "output_tokens: {kind: uniform, min: 1, max: 3000}",
            "s.yaml:10:18: workload.prompt_tokens: expected prompt + output of at most max_model_len (4096 tokens), "
            "found 5048; shorten it or raise serving.max_model_len",
        ),
        (
            "tensor_parallel: 2",
            "tensor_parallel: 3",
            "s.yaml:4:31: deployment.tensor_parallel: expected a divisor of the 32 attention heads of llama-3.1-8b, "
            "found 3; 1, 2, 4, 8, 16, 32 would do",
        ),
        (
            "tensor_parallel: 2",
            "tensor_parallel: 32",
            "s.yaml:4:31: deployment.tensor_parallel: expected at most 8 (what the scale-up link of a100-80gb-sxm "
            "joins), found 32; lower it and add replicas",
        ),
        (
            "tensor_parallel: 2",
            "pipeline_parallel: 2",
            "s.yaml:4:33: deployment.pipeline_parallel: expected 1 (more is not modelled in this version), "
            "found 2; set 1",
        ),
        (
            "kv_dtype: bf16",
            "max_num_batched_tokens: 100",
            "s.yaml:7:27: serving.max_num_batched_tokens: expected at least max_num_seqs (256), found 100; "
            "raise it or lower max_num_seqs",
        ),
        (
            "kv_dtype: bf16",
            "gpu_memory_utilization: 92",
            "s.yaml:7:27: serving.gpu_memory_utilization: expected a number of at most 1, found 92",
        ),
        (
            "model: llama-3.1-8b",
            "model: llama-3.1-8",
            's.yaml:2:8: model: expected the name of a model or a path to its file, found "llama-3.1-8"; '
            'did you mean "llama-3.1-8b"?',
        ),
        (
            "hardware: a100-80gb-sxm",
            "hardware: a100-80gb",
            's.yaml:3:11: hardware: expected the name of a hardware profile or a path to its file, found "a100-80gb"; '
            'did you mean "a100-80gb-sxm"?',
        ),
        (
            "hardware: a100-80gb-sxm",
            "hardware: ./mine.yaml",
            's.yaml:3:11: hardware: expected a hardware file, found none at "mine.yaml"; check the path',
        ),
        (
            "deployment: {",
            "fidelity: calibrated\ndeployment: {",
            "s.yaml:4:11: fidelity: expected peak (the profile a100-80gb-sxm carries no measured efficiency curves), "
            'found "calibrated"; write fidelity: peak',
        ),
        (
            "deployment: {",
            "techniques: [kv-fp8]\ndeployment: {",
            "s.yaml:4:13: techniques: expected no techniques (this version ships none), found kv-fp8; "
            "write techniques: []",
        ),
        (
            "kind: requests",
            "kind: request",
            's.yaml:9:9: workload.kind: expected one of sessions, requests, trace, found "request"; '
            'did you mean "requests"?',
        ),
    ],
)
def test_a_fault_is_refused_at_its_place_with_what_would_do(old, new, message):
    assert broken(old, new) == message


def test_faults_of_the_schema_the_names_and_between_the_parts_come_together():
    text = SCENARIO.replace("llama-3.1-8b", "lama-3.1-8b").replace("parallel: 2", "parallel: 99").replace("2 /s", "2")
    assert [line.split(": ")[1] for line in refusal(text).splitlines()] == ["model", "workload.arrival.rate"]
    text = text.replace("rate: 2}", "rate: 2 /s}")
    assert [line.split(": ")[1] for line in refusal(text).splitlines()] == ["model", "deployment.tensor_parallel"]


def test_a_session_that_outgrows_the_window_is_refused():
    with pytest.raises(SpecError) as caught:
        load_scenario("paper-34b-50k", {"serving.max_model_len": 51_249})
    assert str(caught.value).endswith(
        "workload.document_tokens: expected document + 5 x (question + answer) of at most max_model_len "
        "(51249 tokens), found 51250; shorten it or raise serving.max_model_len"
    )
    assert load_scenario("paper-34b-50k", {"serving.max_model_len": 51_250}).max_model_len == 51_250


def test_a_trace_is_found_beside_the_scenario_or_from_the_working_directory_when_set(tmp_path, monkeypatch):
    own = load_scenario("mooncake-replay")
    assert Path(own.workload.trace).is_file()
    (tmp_path / "mine.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    changed = load_scenario("mooncake-replay", {"workload.trace": "mine.jsonl"})
    assert Path(changed.workload.trace).resolve() == tmp_path / "mine.jsonl"
    assert changed.sha256 != own.sha256


def test_a_missing_trace_is_refused_by_the_override_that_names_it():
    with pytest.raises(SpecError) as caught:
        load_scenario("mooncake-replay", {"workload.trace": "no.jsonl"})
    assert str(caught.value) == (
        '--set workload.trace=no.jsonl: workload.trace: expected a trace file, found none at "no.jsonl"; check the path'
    )


def test_an_override_is_checked_as_the_file_is():
    changed = load_scenario("paper-34b-50k", {"hardware": "h100-80gb-sxm", "serving.kv_dtype": "fp8"})
    assert (changed.hardware.name, changed.serving.kv_dtype) == ("h100-80gb-sxm", "fp8")
    with pytest.raises(SpecError) as caught:
        load_scenario("yi-34b-50k-a100", {"hardware": "h100-80gb-smx", "deployment.tensor_parallel": "3"})
    assert str(caught.value) == (
        "--set deployment.tensor_parallel=3: deployment.tensor_parallel: "
        "expected a divisor of the 56 attention heads of yi-34b-200k, found 3; 1, 2, 4, 7, 8, 14, 28, 56 would do\n"
        "--set hardware=h100-80gb-smx: hardware: expected the name of a hardware profile or a path to its file, "
        'found "h100-80gb-smx"; did you mean "h100-80gb-sxm"?'
    )


def test_another_host_goes_with_any_accelerator():
    host = next(name for name in catalog.names("host") if name != load_scenario("llama-8b-chat").hardware.host_name)
    assert load_scenario("llama-8b-chat", {"host": host}).hardware.host_name == host
    with pytest.raises(SpecError) as caught:
        load_scenario("llama-8b-chat", {"host": f"{host}x"})
    assert len(caught.value.faults) == 1
    assert f'did you mean "{host}"?' in str(caught.value)


def test_an_unusual_setting_is_a_warning_and_no_fault():
    scenario = load_scenario("llama-8b-chat", {"serving.max_model_len": 1_000_000, "serving.host_kv_capacity": "1 PB"})
    assert [warning.split(" ")[0] for warning in scenario.warnings] == [
        "serving.max_model_len",
        "serving.host_kv_capacity",
    ]


def test_the_digest_covers_contents_and_not_places(tmp_path):
    scenario = load_scenario("llama-8b-chat")
    copy = tmp_path / "copy.yaml"
    copy.write_text(catalog.find("scenario", "llama-8b-chat").read_text())
    assert load_scenario(copy).sha256 == scenario.sha256
    for change in ({"serving.kv_dtype": "fp8"}, {"run.seed": 1}, {"model": "yi-34b-200k"}, {"hardware": "paper-a100"}):
        assert load_scenario("llama-8b-chat", change).sha256 != scenario.sha256
    faster = replace(scenario, hardware=replace(scenario.hardware, hbm_bytes_per_s=1e13))
    assert faster.sha256 != scenario.sha256


def test_a_file_that_cannot_be_a_scenario_is_refused_by_name(tmp_path):
    for content in (b"", b"\x00\x01", b"- a\n", b"name: [", b"hello"):
        path = tmp_path / "s.yaml"
        path.write_bytes(content)
        with pytest.raises(SpecError) as caught:
            load_scenario(path)
        assert str(caught.value).startswith(f"{path}")


def test_loading_a_scenario_imports_nothing_heavy():
    code = (
        "import sys; from ctxsim.spec.scenario import load_scenario; load_scenario('paper-34b-50k');"
        "print(sorted({'numpy', 'pandas', 'matplotlib', 'scipy', 'simpy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


KEYS = [
    "name",
    "model",
    "hardware",
    "host",
    "fidelity",
    "deployment",
    "serving",
    "techniques",
    "workload",
    "slo",
    "price",
]
KEYS += ["run", "kind", "users", "arrival", "rate", "document_tokens", "rounds", "question_tokens", "answer_tokens"]
KEYS += ["think_time", "prompt_tokens", "output_tokens", "num_requests", "trace", "format", "mean", "p95", "min", "max"]
KEYS += ["tensor_parallel", "max_model_len", "ttft", "warmup", "horizon", "accelerator", "activation_peak", "<a>", "é"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sessions", "requests", "trace", "poisson", "closed", "lognormal", "uniform", "constant"])
    | st.sampled_from(["paper-34b", "paper-a100", "80 GiB", "60 s", "2 /s", "peak", "mooncake", "auto", "/", "a/b"])
    | st.sampled_from(["nan GB", "-1 s", "2 GBps", "../x.yaml", "\0", "\ud83d", "x.json", 10**400, -(2**70)])
)
TREES = st.recursive(
    SCALARS,
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(KEYS), child, max_size=6),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=8))
def test_any_tree_is_a_scenario_or_a_spec_error(data):
    assert_scenario_or_spec_error(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from(KEYS), TREES), min_size=1, max_size=3),
    st.sampled_from(catalog.names("scenario")),
)
def test_any_damage_to_a_good_scenario_is_a_scenario_or_a_spec_error(damage, name):
    document = parse_document(catalog.find("scenario", name).read_text(), f"scenarios/{name}.yaml")
    data = dict(document.data)
    for depth, key, tree in damage:
        inner = [k for k, v in data.items() if isinstance(v, dict)]
        if depth and inner:
            place = inner[len(key) % len(inner)]
            data[place] = {**data[place], key: tree}
        else:
            data[key] = tree
    assert_scenario_or_spec_error(data)


def assert_scenario_or_spec_error(data):
    try:
        scenario = resolve_scenario(Document("s.yaml", data))
    except SpecError as error:
        text = str(error)
        assert error.faults  # noqa: PT017
        text.encode()
    else:
        assert scenario.to_yaml()
