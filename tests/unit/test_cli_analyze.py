"""The analyze command: keys and numbers, the four sentences, the breakdown, the arithmetic."""

from __future__ import annotations

import json
import re

import pytest
from command_line import answer, ctxsim


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
        residency gap working_set breakdown"""
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
    assert float(re.search(r"([\d.]+) sessions of 2,048 tokens fit", text)[1]) > 200
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


def test_analyze_shows_how_long_kv_is_best_kept_in_each_tier() -> None:
    gap = answer("analyze", "yi-34b-50k-a100")["result"]["gap"]
    assert set(gap["kept_until_s"]) == {"hbm", "host", "disk"}
    shown = ctxsim("analyze", "yi-34b-50k-a100", "--show-work").out
    table = shown.partition("How long KV is best kept")[2]
    assert re.search(r"^HBM +785\.4 ms +swap to host memory$", table, re.MULTILINE)
    assert re.search(r"^host memory +1,441 s +compute again$", table, re.MULTILINE)
    assert re.search(r"^disk +45,894 s +compute again$", table, re.MULTILINE)
    assert f"host {gap['kept_until_s']['host']:.6g} s" in shown.partition("gap.kept_until_s = ")[2]
