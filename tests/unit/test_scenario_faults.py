"""What is wrong in a scenario is refused at its place, with what was wanted, what was there and what would do."""

import pytest
from scenario_text import SCENARIO

from ctxsim.errors import SpecError
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import load_scenario, resolve_scenario


def refusal(text):
    with pytest.raises(SpecError) as caught:
        resolve_scenario(parse_document(text, "s.yaml"))
    return str(caught.value)


def broken(old, new):
    assert old in SCENARIO
    return refusal(SCENARIO.replace(old, new))


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
            "s.yaml:7:13: serving.kv_dtype: expected one of bf16, fp32, fp8, int8, int4, int4_scale, kivi2, kvquant3, "
            'wkvquant4, found "fp16"; did you mean "bf16"?',
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
            "a100-80gb-sxm\ndeployment: {tensor_parallel: 2}",
            "l40s\ndeployment: {tensor_parallel: 32}",
            "s.yaml:4:31: deployment.tensor_parallel: expected at most 8 (what the scale-up link of l40s joins; its "
            "profile has no scale_out to go further), found 32; lower it and add replicas",
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
            'did you mean "a100-80gb-sxm" or "a100-80gb-pcie" or "h100-80gb-sxm"?',
        ),
        (
            "hardware: a100-80gb-sxm",
            "hardware: ./mine.yaml",
            's.yaml:3:11: hardware: expected a hardware file, found none at "mine.yaml"; check the path',
        ),
        (
            "hardware: a100-80gb-sxm",
            "hardware: l40s\nfidelity: calibrated",
            's.yaml:4:11: fidelity: expected peak (l40s has no calibration), found "calibrated"; write fidelity: peak, '
            "or measure and calibrate the device and name the file as calibration",
        ),
        (
            "deployment: {",
            "techniques: [kv-int4, kv-int4-scale]\ndeployment: {",
            's.yaml:4:23: techniques[1]: expected a technique that can be applied here, found "kv-int4-scale": '
            "kv-int4 changes the format of KV already; use one of them",
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


def test_kv_heads_that_cannot_be_split_are_refused():
    overrides = {"model": "phi-3-medium", "deployment.tensor_parallel": 4, "serving.max_model_len": 4_096}
    with pytest.raises(SpecError) as caught:
        load_scenario("llama-8b-chat", overrides)
    assert str(caught.value) == (
        "--set deployment.tensor_parallel=4: deployment.tensor_parallel: expected a divisor or a multiple of the "
        "10 KV heads of phi-3-medium, found 4; 1, 2, 5, 10, 20, 40 would do"
    )
