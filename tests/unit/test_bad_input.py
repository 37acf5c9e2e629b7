"""Every kind of bad input through the command line: its exit code and its wording, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bad_inputs import BAD_INPUT, USAGE, files, setting
from command_line import Outcome, ctxsim


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the files of the cases."""
    for name, content in files().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "folder.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_one_message(outcome: Outcome, code: int, wording: str) -> None:
    """The wording stands on stderr, nothing on stdout, and no traceback anywhere."""
    assert wording in outcome.err
    assert outcome.code == code
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert "pydantic" not in outcome.err


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_with_2_and_its_wording(case: str) -> None:
    words, wording = BAD_INPUT[case]
    assert_one_message(ctxsim(*words), 2, wording)


@pytest.mark.parametrize("case", USAGE)
def test_wrong_command_lines_end_with_2(case: str) -> None:
    words, wording = USAGE[case]
    assert_one_message(ctxsim(*words), 2, wording)


@pytest.mark.parametrize("case", BAD_INPUT)
def test_as_json_the_fault_has_its_parts(case: str) -> None:
    words, wording = BAD_INPUT[case]
    outcome = ctxsim(*words, "--json")
    assert (outcome.code, outcome.err) == (2, "")
    answer = json.loads(outcome.out)
    assert answer["schema"] == "ctxsim.error/1"
    assert answer["error"]["code"] == 2
    assert wording in answer["error"]["message"]
    assert answer["error"]["faults"]
    for fault in answer["error"]["faults"]:
        assert set(fault) == {"path", "line", "column", "field", "message"}
        assert fault["message"] in answer["error"]["message"]


@pytest.mark.parametrize("case", USAGE)
def test_as_json_a_wrong_command_line_is_an_error_too(case: str) -> None:
    words, wording = USAGE[case]
    outcome = ctxsim(*words, "--json")
    assert (outcome.code, outcome.err) == (2, "")
    assert wording in json.loads(outcome.out)["error"]["message"]


def test_all_faults_of_a_file_are_reported_at_once() -> None:
    outcome = ctxsim("analyze", "several.yaml", "--set", "serving.kv_dtype=fp7")
    assert outcome.err.splitlines() == [
        "--set serving.kv_dtype=fp7: serving.kv_dtype: expected one of bf16, fp32, fp8, int8, int4, int4_scale, "
        'kivi2, kvquant3, wkvquant4, found "fp7"; did you mean "fp8"?',
        'several.yaml:9:34: workload.arrival.rate: expected a rate of arrivals, found "s", which is a duration; '
        'did you mean "/s"?',
        'several.yaml:10:17: workload.num_requests: expected a whole number, found "ten"',
    ]


@pytest.mark.parametrize("command", ["analyze", "simulate"])
def test_every_bad_line_of_a_trace_is_listed(command: str) -> None:
    outcome = ctxsim(command, "trace.yaml")
    assert_one_message(outcome, 2, 'lines.jsonl:2: input_length: expected a whole number of tokens, found "x"')
    lines = outcome.err.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith('lines.jsonl:3:1: expected a JSON object, found "not json"')
    assert lines[2].startswith("lines.jsonl:4: input_length: expected a prompt of at least 1 token, found 0")


def test_fault_parts_say_where() -> None:
    faults = json.loads(ctxsim("analyze", "unknown-key.yaml", "--json").out)["error"]["faults"]
    assert [(f["path"], f["line"], f["column"], f["field"]) for f in faults] == [
        ("unknown-key.yaml", 4, 11, "serving.max_num_batchd_tokens")
    ]


def test_a_model_that_does_not_fit_is_explained_and_still_analyzed() -> None:
    outcome = ctxsim(*setting("model=llama-3.1-70b"))
    reason = "weights need 141.1 GB, usable HBM is 78.29 GB: at least 2 accelerators"
    assert outcome.code == 3
    assert outcome.err == f"infeasible: {reason}\n"
    assert f"Does not fit: {reason}" in outcome.out
    assert "Prefill         917.3 ms for 2,048 tokens" in outcome.out


def test_as_json_a_model_that_does_not_fit_has_every_key() -> None:
    outcome = ctxsim(*setting("model=llama-3.1-70b"), "--json")
    fitting = json.loads(ctxsim(*setting("model=llama-3.1-70b", "deployment.tensor_parallel=2"), "--json").out)[
        "result"
    ]
    result = json.loads(outcome.out)["result"]
    assert outcome.code == 3
    assert fitting["feasible"] is True
    assert result["feasible"] is False
    assert set(result) == {*fitting, "infeasible_reason"}
    assert result["infeasible_reason"].endswith("at least 2 accelerators")


def test_what_does_not_fit_is_not_simulated() -> None:
    outcome = ctxsim("simulate", "good.yaml", "--set", "model=llama-3.1-70b")
    assert_one_message(outcome, 3, "infeasible: weights, activations and reserve need 142.7 GB, usable HBM is 78.29 GB")


def test_a_request_that_the_pool_cannot_hold_is_not_simulated() -> None:
    outcome = ctxsim("simulate", "sessions.yaml", "--set", "run.horizon=1 min", "--set", "hardware=rtx-4090",
                     "--set", "serving.num_gpu_blocks_override=20", "--json")  # fmt: skip
    error = json.loads(outcome.out)["error"]
    assert (outcome.code, error["code"]) == (3, 3)
    assert "the shortest request (5,029 tokens) needs" in error["message"]
