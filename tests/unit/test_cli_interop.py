"""The commands import and export: files, stdin, exit codes, and JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from command_line import answer, ctxsim

from ctxsim.spec.scenario import load_scenario
from ctxsim.validate.runs import read_run

VLLM = "vllm serve meta-llama/Llama-3.1-8B-Instruct --max-model-len 16k"
SMALL = ("--set", "workload.num_requests=10")


def test_import_writes_a_scenario_that_can_be_analyzed(tmp_path: Path) -> None:
    out = tmp_path / "scenario.yaml"
    outcome = ctxsim("import", VLLM, "-o", str(out))
    assert (outcome.code, outcome.out, outcome.err) == (0, f"wrote {out}\n", "")
    assert load_scenario(out).serving.max_model_len == 16000
    assert ctxsim("analyze", str(out)).code == 0


def test_import_prints_the_file_without_out() -> None:
    outcome = ctxsim("import", VLLM)
    assert outcome.out.startswith("# Imported from a command line of vllm, by its flags as of version 0.33:\n")
    assert "max_model_len: 16000 # --max-model-len 16k" in outcome.out


def test_import_reads_files_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "serve.sh"
    script.write_text(VLLM.replace(" --", " \\\n  --"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(VLLM))
    scenarios = [answer("import", command)["scenario_sha256"] for command in (VLLM, str(script), "-")]
    assert len(set(scenarios)) == 1


def test_import_takes_a_command_longer_than_a_file_name() -> None:
    assert ctxsim("import", f"{VLLM} --served-model-name {'x' * 5000}").code == 0


def test_import_answers_in_json() -> None:
    found = answer("import", f"{VLLM} --frobnicate 3 --seed 1")
    assert found["schema"] == "ctxsim.import/1"
    assert found["warnings"] == ["--frobnicate 3: not in the table of vLLM 0.33"]
    result = found["result"]
    assert (result["engine"], result["version"], result["file"]) == ("vllm", "0.33", None)
    by_flag = {use["flag"]: use for use in result["flags"]}
    assert by_flag["--frobnicate"] == {
        "flag": "--frobnicate", "value": "3", "status": "unknown", "field": None, "note": None,
    }  # fmt: skip
    assert by_flag["--max-model-len"]["field"] == "serving.max_model_len"
    assert by_flag["--seed"]["status"] == "no_effect"
    assert by_flag["--gpu-memory-utilization"]["status"] == "default"


def test_import_warns_on_stderr() -> None:
    outcome = ctxsim("import", f"{VLLM} --enforce-eager")
    assert outcome.err.startswith("warning: --enforce-eager: not modelled: ")


def test_import_takes_the_workload_of_another_scenario() -> None:
    outcome = ctxsim("import", "vllm serve 01-ai/Yi-34B-200K -tp 2", "--workload-from", "yi-34b-50k-a100")
    assert "hardware: a100-80gb-sxm # hardware of yi-34b-50k-a100" in outcome.out
    assert "users: 20" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("import", f"{VLLM} -tp 3"), "-tp 3: deployment.tensor_parallel: expected a divisor"),
        (("import", "ls"), "expected vllm serve ..."),
        (("import", VLLM, "--engine-version", "9"), "--engine-version: expected a version of vllm"),
        (("import", VLLM, "-o", "/nowhere/x.yaml"), "/nowhere/x.yaml: expected a file that can be written"),
        (("export", "llama-8b-chat", "--to", "vllm", "--detailed"), "--detailed: expected another --to beside it"),
        (("export", "llama-8b-chat", "--to", "llm-d", "--all"), "--all: expected another --to beside it, found llm-d"),
        (("export", "llama-8b-chat", "--to", "llm-d", "--detailed"), "--detailed: expected another --to beside it"),
        (("export", "nothing", "--to", "vllm"), "expected the name of a scenario"),
    ],
)
def test_bad_input_ends_with_2(words: tuple[str, ...], message: str) -> None:
    outcome = ctxsim(*words)
    assert outcome.code == 2
    assert message in outcome.err


def test_export_prints_a_command_line() -> None:
    outcome = ctxsim("export", "llama-8b-chat", "--to", "vllm", "--set", "serving.kv_dtype=fp8")
    assert outcome.out.splitlines()[1:] == ["vllm serve llama-3.1-8b --kv-cache-dtype fp8"]
    found = answer("export", "yi-34b-50k-a100", "--to", "vllm")
    assert found["schema"] == "ctxsim.export/1"
    assert [one["field"] for one in found["result"]["cannot"]] == ["serving.host_tier"]


def test_results_are_exported_from_a_folder_or_simulated_now(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert ctxsim("simulate", "llama-8b-chat", *SMALL, "--out", str(folder), "--no-progress").code == 0
    saved = ctxsim("export", str(folder), "--to", "vllm-bench", "--detailed").out
    now = ctxsim("export", "llama-8b-chat", *SMALL, "--to", "vllm-bench", "--detailed").out
    assert json.loads(saved) == json.loads(now)
    bench = tmp_path / "bench.json"
    assert ctxsim("export", str(folder), "--to", "vllm-bench", "--detailed", "-o", str(bench)).code == 0
    run = read_run(bench)
    ours = read_run(folder / "requests.parquet")
    assert run["ttft_s"].to_numpy() == pytest.approx(ours["ttft_s"].to_numpy(), rel=1e-9)
    report = json.loads(ctxsim("export", str(folder), "--to", "llm-d").out)
    assert report["version"] == "0.2.1"
    assert ctxsim("export", str(folder), "--to", "sglang").out.splitlines()[-1].startswith("python -m sglang")
    refused = ctxsim("export", str(folder), "--to", "llm-d", *SMALL)
    assert (refused.code, refused.err) == (2, "--set: expected a scenario beside it, found results; leave it out\n")


def test_results_in_json_are_in_the_envelope() -> None:
    found = answer("export", "llama-8b-chat", *SMALL, "--to", "llm-d")
    assert found["result"]["written"]["version"] == "0.2.1"
    assert found["scenario_sha256"] == found["result"]["written"]["run"]["eid"]


def test_means_of_replications_have_no_requests_to_export(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    words = ("--replications", "2", "--out", str(folder), "--no-progress")
    assert ctxsim("simulate", "llama-8b-chat", *SMALL, *words).code == 0
    refused = ctxsim("export", str(folder), "--to", "vllm-bench")
    assert refused.code == 2
    assert "found the means of replications" in refused.err
