"""The commands: what they print for people, the JSON envelope, exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import REQUESTS, ctxsim, environment, process
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from ctxsim import __version__
from ctxsim.cli import commands, listings
from ctxsim.cli.schemas import FILES, schema_of
from ctxsim.errors import MissingExtraError
from ctxsim.metrics import DEFINITIONS
from ctxsim.spec import catalog

COMMANDS = (
    ("hardware", "list"),
    ("hardware", "list", "--hosts"),
    ("hardware", "show", "h200-sxm"),
    ("model", "list"),
    ("model", "show", "gemma-3-27b"),
    ("analyze", "yi-34b-50k-a100"),
    ("simulate", "mooncake-replay"),
    ("schema", "scenario"),
)


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The path of a small scenario."""
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    return str(path)


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def answer(*words: str, code: int = 0) -> dict[str, Any]:
    """The JSON that a command prints; NaN in it is an error."""
    outcome = ctxsim(*words, "--json")
    assert outcome.code == code, outcome
    parsed: dict[str, Any] = json.loads(outcome.out, parse_constant=no_constant)
    return parsed


# The envelope


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_the_envelope(words: tuple[str, ...]) -> None:
    found = answer(*words)
    assert list(found) == ["schema", "version", "scenario_sha256", "warnings", "result", "meta"]
    assert found["schema"] == f"ctxsim.{words[0]}/1"
    assert found["version"] == __version__
    assert set(found["meta"]) == {"wall_s", "peak_rss_bytes"}
    assert found["meta"]["wall_s"] > 0
    assert 10_000_000 < found["meta"]["peak_rss_bytes"] < 10**11
    if words[0] in ("analyze", "simulate"):
        assert re.fullmatch("[0-9a-f]{64}", found["scenario_sha256"])
    else:
        assert found["scenario_sha256"] is None


@pytest.mark.parametrize("words", [("analyze", "yi-34b-50k-a100"), ("simulate", "mooncake-replay")], ids=" ".join)
def test_all_but_meta_is_the_same_bytes_in_every_process(words: tuple[str, ...]) -> None:
    texts = [process([*words, "--json"]).stdout.partition('"meta"')[0] for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0] == ctxsim(*words, "--json").out.partition('"meta"')[0]


def test_digest_follows_the_contents() -> None:
    plain = answer("analyze", "paper-34b-50k")["scenario_sha256"]
    assert answer("analyze", "paper-34b-50k", "--set", "fidelity=peak")["scenario_sha256"] == plain
    assert answer("analyze", "paper-34b-50k", "--set", "serving.kv_dtype=fp8")["scenario_sha256"] != plain


# analyze


def test_analyze_gives_the_numbers_of_the_paper() -> None:
    outcome = ctxsim("analyze", "paper-34b-50k", "--json")
    result = json.loads(outcome.out)["result"]
    assert '"kv_bytes_per_session": 12288000000,' in outcome.out
    assert result["prefill_s"] == pytest.approx(14.836, abs=5e-4)
    assert result["decode_answer_s"] == pytest.approx(10.036, abs=5e-4)
    assert result["switch_s"] == pytest.approx(1.2288, abs=5e-5)
    assert result["concurrent_sessions"] == pytest.approx(1.457, abs=5e-4)
    assert result["ridge_flop_per_byte"] == 156
    assert result["feasible"] is True


def test_analyze_has_the_keys_of_the_design() -> None:
    keys = """feasible weight_bytes hbm_bytes kv_bytes_per_token kv_bytes_per_session kv_capacity_bytes
        kv_capacity_tokens concurrent_sessions concurrent_sessions_whole prefill_flop prefill_s prefill_bound
        decode_step_s decode_answer_s decode_bound first_token_s last_token_s switch_s session_busy_s session_wall_s
        sessions_per_hour_bound bottleneck ridge_flop_per_byte cost_usd_per_session cost_usd_per_million_output_tokens
        breakdown"""
    assert set(answer("analyze", "paper-34b-50k")["result"]) == set(keys.split())


@pytest.mark.parametrize("name", ["yi-34b-50k-a100", "llama-8b-chat", "mooncake-replay", "paper-34b-4k"])
def test_the_breakdown_sums_to_the_total(name: str) -> None:
    result = answer("analyze", name, "--set", "serving.iteration_overhead=3 ms")["result"]
    parts = result["breakdown"]
    for part, total in (("prefill", "prefill_s"), ("decode_step", "decode_step_s")):
        seconds = sum(row["seconds"] for row in parts[part]) + parts["iteration_overhead_s"]
        assert seconds == pytest.approx(result[total], rel=1e-12)
    assert sum(row["flop"] for row in parts["prefill"]) == pytest.approx(result["prefill_flop"], rel=1e-12)


def test_analyze_answers_the_four_questions_first() -> None:
    lines = ctxsim("analyze", "paper-34b-50k").out.splitlines()
    text = re.sub(r"\s+", " ", " ".join(lines[:12]))
    assert "Concurrency 1.457 sessions of 50,000 tokens fit at once: 17.9 GB for KV cache, 12.29 GB each" in text
    assert "(HBM size binds)." in text
    assert "Prefill 14.84 s for 50,000 tokens: 4.629 PFLOP (compute binds)." in text
    assert "Decode 10.04 s for an answer of 250 tokens: 40.14 ms a token (HBM bandwidth binds)." in text
    assert "Context switch 1.229 s to swap a session out and another in: 2 x 12.29 GB at 20 GB/s" in text


def test_concurrency_is_bound_by_max_num_seqs_where_that_is_less() -> None:
    text = re.sub(r"\s+", " ", ctxsim("analyze", "llama-8b-chat", "--set", "serving.max_num_seqs=8").out)
    assert "226.5 sessions of 2,048 tokens fit at once" in text
    assert "(max_num_seqs binds: 8 run at once)" in text


def test_show_work_prints_the_arithmetic() -> None:
    assert "Arithmetic" not in ctxsim("analyze", "paper-34b-50k").out
    text = ctxsim("analyze", "paper-34b-50k", "--show-work").out
    assert "kv_bytes_per_session = KV of 50,000 tokens at 245,760 B a token" in text
    work = answer("analyze", "paper-34b-50k", "--show-work")["result"]["work"]
    assert work == text.partition("Arithmetic\n")[2].splitlines()


def test_warnings_go_to_stderr() -> None:
    outcome = ctxsim("analyze", "llama-8b-chat", "--set", "serving.max_model_len=200000")
    assert outcome.err.startswith("warning: serving.max_model_len 200000 is beyond the 131072 tokens")
    assert "warning" not in outcome.out
    found = answer("analyze", "llama-8b-chat", "--set", "serving.max_model_len=200000")
    assert len(found["warnings"]) == 1


# simulate


def test_simulate_has_the_keys_of_the_design() -> None:
    keys = """num_requests completed_requests duration_s sessions_per_hour requests_per_s output_tokens_per_s ttft_s
        tpot_s itl_s e2e_s queue_s goodput_requests_per_s preemptions swap_in_bytes swap_out_bytes recomputed_tokens
        kv_hit_ratio kv_used_ratio mfu_ratio mbu_ratio link_busy_ratio cost_usd_per_session
        cost_usd_per_million_output_tokens gpu_hours events iterations"""
    result = answer("simulate", "mooncake-replay")["result"]
    assert set(keys.split()) <= set(result)
    assert set(result["ttft_s"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert set(result["kv_hit_ratio"]) == {"hbm", "host", "disk"}


def test_simulate_prints_summary_latencies_and_definitions(scenario: str) -> None:
    outcome = ctxsim("simulate", scenario)
    assert outcome.code == 0
    assert re.search(r"^num_requests +10 ", outcome.out, re.MULTILINE)
    assert re.search(r"^ttft_s( +[\d.]+ m?s){5}$", outcome.out, re.MULTILINE)
    for meaning in DEFINITIONS.values():
        assert meaning.split()[0] in outcome.out.partition("Definitions")[2]
    assert outcome.err.startswith("warning: serving.enable_prefix_caching")


def test_the_seed_replaces_the_scenarios(scenario: str) -> None:
    plain, same = answer("simulate", scenario), answer("simulate", scenario, "--seed", "0")
    other, set_seed = answer("simulate", scenario, "--seed", "7"), answer("simulate", scenario, "--set", "run.seed=7")
    assert same["result"] == plain["result"]
    assert other["result"]["duration_s"] != plain["result"]["duration_s"]
    assert other["scenario_sha256"] != plain["scenario_sha256"]
    assert (other["result"], other["scenario_sha256"]) == (set_seed["result"], set_seed["scenario_sha256"])


def test_both_steppings_agree(scenario: str) -> None:
    macro, single = (answer("simulate", scenario, "--stepping", s)["result"] for s in ("macro", "single"))
    assert single["iterations"] == macro["iterations"]
    assert single["duration_s"] == pytest.approx(macro["duration_s"], rel=1e-9)
    assert single["events"] > macro["events"]


def test_slo_gate(scenario: str) -> None:
    met = ctxsim("simulate", scenario, "--fail-on-slo")
    assert met.code == 0
    assert "SLO at the 95 % quantile: met" in met.out
    missed = ctxsim("simulate", scenario, "--fail-on-slo", "--set", "slo.tpot=1 ms", "--set", "slo.percentile=50")
    assert missed.code == 4
    assert re.search(r"^SLO missed: TPOT p50 is 0\.\d+ s, the limit is 0\.001 s$", missed.err, re.MULTILINE)
    assert "SLO at the 50 % quantile: missed" in missed.out
    assert ctxsim("simulate", scenario, "--set", "slo.tpot=1 ms").code == 0


def test_slo_gate_is_part_of_the_json(scenario: str) -> None:
    found = answer("simulate", scenario, "--fail-on-slo", "--set", "slo={ttft: 1 ms, percentile: 95}", code=4)
    result = found["result"]
    gate = result["slo_gate"]
    assert (gate["met"], gate["percentile"], gate["ttft_s"]["limit_s"]) == (False, 95, 0.001)
    assert "tpot_s" not in gate
    # Nothing is cut as warm-up from ten requests, so both are the same quantile of the same sample.
    assert result["warmup_s"] == 0
    assert gate["ttft_s"]["found_s"] == result["ttft_s"]["p95"]


def test_an_interrupted_run_says_how_far_it_got(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, progress: Any, **__: object) -> None:
        progress(3)
        raise KeyboardInterrupt

    out = tmp_path / "results"
    assert ctxsim("simulate", scenario, "--out", str(out)).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("ctxsim.cli.simulating.run_simulation", stopped)
    outcome = ctxsim("simulate", scenario, "--seed", "1", "--out", str(out))
    assert outcome.code == 130
    assert outcome.err == f"interrupted: 3 of 10 requests were finished; {out} is as it was before\n"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert json.loads(ctxsim("simulate", scenario, "--json").out)["error"]["code"] == 130


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_a_process_with_130(tmp_path: Path) -> None:
    out = tmp_path / "results"
    words = ["simulate", "paper-34b-50k", "--stepping", "single", "--set", "run.horizon=4000 hours", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "ctxsim", *words],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # The tests themselves may have been started with Ctrl-C ignored, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline_s = time.monotonic() + 60
    while not out.is_dir() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert re.fullmatch(
        rf"interrupted: [\d,]+ requests were finished; {re.escape(str(out))} is as it was before\n", said
    )
    assert list(out.iterdir()) == []


# hardware, model, schema


def test_hardware_list_has_every_profile_and_host() -> None:
    result = answer("hardware", "list")["result"]
    assert [row["name"] for row in result["hardware"]] == catalog.names("hardware")
    assert [row["name"] for row in result["hosts"]] == catalog.names("host")
    text = ctxsim("hardware", "list").out
    for name in (*catalog.names("hardware"), *catalog.names("host")):
        assert re.search(rf"^{re.escape(name)} ", text, re.MULTILINE)
    assert list(answer("hardware", "list", "--hosts")["result"]) == ["hosts"]


@pytest.mark.parametrize("name", catalog.names("hardware"))
def test_hardware_show_gives_every_number_its_source(name: str) -> None:
    result = answer("hardware", "show", name)["result"]
    assert result["hbm_bytes"] <= result["hbm_nominal_bytes"]
    values = {row["field"]: row for row in (*result["values"], *result["host_values"])}
    assert values["accelerator.hbm_bytes"]["value"] == result["hbm_bytes"]
    assert values["accelerator.peak_flop_per_s.bf16"]["unit"] == "FLOP/s"
    assert values["price.accelerator"]["unit"] == "USD/s"
    for row in values.values():
        assert len(row["source"]) > len("paper"), row  # a key of the file's sources would be short


def test_hardware_show_takes_a_path_and_another_host(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(catalog.find("hardware", "h200-sxm").read_text())
    result = answer("hardware", "show", str(path), "--host", "grace")["result"]
    assert (result["name"], result["host_name"]) == ("h200-sxm", "grace")
    assert "h200-sxm in grace: NVIDIA H200" in ctxsim("hardware", "show", str(path), "--host", "grace").out


def test_model_list_has_every_model() -> None:
    rows = answer("model", "list")["result"]["models"]
    assert [row["name"] for row in rows] == catalog.names("model")
    assert all(row["num_active_parameters"] <= row["num_parameters"] for row in rows)


def test_model_show_of_a_users_own_config(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    result = answer("model", "show", str(folder / "config.json"))["result"]
    assert result["name"] == "my-model"
    assert result["num_parameters"] == 8_030_261_248  # as Llama-3.1-8B is published
    assert result["layer_kinds"] == {"full": 32}
    assert result["kv_bytes_per_token"] == 2 * 8 * 128 * 32 * 2
    assert result["state_bytes_per_sequence"] == 0
    assert result["kv_bytes_at"] == {str(n): n * 131_072 for n in (4096, 50_000, 131_072, 1_000_000)}
    assert "head_dim" in result["defaulted_fields"]
    assert answer("model", "show", str(folder))["result"] == result


def test_model_show_of_windows_and_states() -> None:
    gemma = answer("model", "show", "gemma-3-27b")["result"]
    assert gemma["layer_kinds"] == {"sliding 1024": 52, "full": 10}
    per_token = 2 * 16 * 128 * 2
    assert gemma["kv_bytes_at"]["50000"] == per_token * (10 * 50_000 + 52 * 1024)
    jamba = answer("model", "show", "jamba-1.5-mini")["result"]
    assert jamba["layer_kinds"] == {"ssm": 28, "full": 4}
    assert jamba["state_bytes_per_sequence"] > 0


@pytest.mark.parametrize("kind", FILES)
def test_schemas_are_draft_07_and_accept_what_ships(kind: str) -> None:
    schema = schema_of(kind)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "prefixItems" not in json.dumps(schema)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    paths = [catalog.find(kind, name) for name in catalog.names(kind)]  # type: ignore[arg-type]
    shipped = [path for path in paths if path.suffix == ".yaml"]
    assert shipped
    for path in shipped:
        contents = YAML(typ="safe", pure=True).load(path)
        if "price" in contents and "date" in contents["price"]:
            contents["price"]["date"] = str(contents["price"]["date"])  # a date to YAML, text to us
        assert [error.message for error in validator.iter_errors(contents)] == [], path
    assert list(validator.iter_errors({**contents, "nmae": "x"}))
    assert list(validator.iter_errors({key: value for key, value in contents.items() if key != "name"}))


def test_schemas_tell_quantities_from_numbers() -> None:
    scenario = YAML(typ="safe", pure=True).load(REQUESTS)
    validator = Draft7Validator(schema_of("scenario"))
    assert validator.is_valid(scenario)
    assert not validator.is_valid({**scenario, "slo": {"ttft": 1}})
    assert not validator.is_valid({**scenario, "serving": {"kv_dtype": "fp7"}})


def test_schema_names_are_readable() -> None:
    for kind in FILES:
        assert all(len(name) < 30 for name in schema_of(kind).get("$defs", {}))


def test_the_schema_command_prints_the_schema_itself() -> None:
    assert {kind.value for kind in commands.Description} == set(FILES)
    for kind in FILES:
        assert json.loads(ctxsim("schema", kind).out) == schema_of(kind) == answer("schema", kind)["result"]
    assert json.loads(ctxsim("schema").out) == schema_of("scenario")


# The command line as a whole


@pytest.mark.parametrize("words", [c for c in COMMANDS if c[0] != "schema"], ids=" ".join)
def test_text_is_at_most_100_columns_wide_and_uncoloured_in_a_pipe(words: tuple[str, ...]) -> None:
    text = ctxsim(*words).out
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    assert "…" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_help_and_version() -> None:
    for words in (("--help",), ("-h",), ("analyze", "--help"), ("hardware", "-h"), ("model", "show", "--help")):
        outcome = ctxsim(*words)
        assert outcome.code == 0
        assert outcome.out.startswith("Usage: ctxsim")
    assert "Exit codes: 0 ok" in ctxsim("--help").out
    assert ctxsim("--version").out == f"{__version__}\n"
    assert process(["--version"]).stdout == f"{__version__}\n"


@pytest.mark.parametrize("words", [(), ("hardware",), ("model",)])
def test_a_command_that_is_missing_shows_the_help(words: tuple[str, ...]) -> None:
    outcome = ctxsim(*words)
    assert outcome.code == 2
    assert "Commands:" in outcome.err


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(listings, "model_rows", broken)
    line = "this is a fault of ctxsim: ZeroDivisionError: division by zero; please report"
    outcome = ctxsim("model", "list")
    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"{line}\n")
    for words in (("model", "list", "--debug"), ("--debug", "model", "list")):
        debugged = ctxsim(*words)
        assert debugged.code == 1
        assert "Traceback (most recent call last)" in debugged.err
        assert debugged.err.endswith(f"{line}\n")
    error = json.loads(ctxsim("model", "list", "--json").out)["error"]
    assert error == {"code": 1, "message": line, "faults": []}


def test_a_missing_extra_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise MissingExtraError("fit", "calibration")

    monkeypatch.setattr(listings, "model_rows", lacking)
    outcome = ctxsim("model", "list")
    assert outcome.code == 5
    assert outcome.err == 'calibration needs the extra "fit"; install it with: pip install "ctxsim[fit]"\n'


@pytest.mark.parametrize("words", [("model", "list"), ("analyze", "gone.yaml", "--json")], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_fault(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "ctxsim", *words]
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    said = child.stderr.read()
    child.stderr.close()
    assert child.wait() == (2 if "analyze" in words else 0)
    assert said == ""
