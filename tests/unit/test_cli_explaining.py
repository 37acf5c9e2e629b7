"""explain and curve as commands: text, JSON, files, exit codes."""

from __future__ import annotations

import pandas as pd
from command_line import answer, ctxsim
from exploring import small_file


def test_explain_says_what_kv_bytes_explain():
    outcome = ctxsim("explain", "paper-34b-50k", "--show-work")
    assert outcome.code == 0
    assert "73.8 % of that are KV bytes, 7.6 %" in outcome.out
    assert "if KV weighed nothing" in outcome.out
    assert "sequences together = min(256, 17,899,345,920 B / 12,288,000,000 B), at least 1 = 1.45665" in outcome.out
    assert "…" not in outcome.out
    assert "Arithmetic" not in ctxsim("explain", "paper-34b-50k").out


def test_explain_as_json_has_every_number(tmp_path):
    found = answer("explain", "paper-34b-50k", "--against", "8k", "-o", str(tmp_path / "out"))
    assert found["schema"] == "ctxsim.explain/1"
    result = found["result"]
    assert (result["context_tokens"], result["against_tokens"]) == (50_000, 8_000)
    assert result["feasible"]
    assert sum(part["extra_ratio"] for part in result["by_cause"].values()) == 1.0
    assert result["at_own_load"]["bottleneck"] == "hbm_bandwidth"
    assert set(result["definitions"]) > {"concurrency", "kv_bytes"}
    assert "work" not in result
    rows = pd.read_parquet(tmp_path / "out" / "rows.parquet")
    assert list(rows["extra_usd"]) == [row["extra_usd"] for row in result["rows"]]
    assert (tmp_path / "out" / "waterfall.svg").read_text().startswith("<svg")
    again = answer("explain", "paper-34b-50k", "--against", "8k", "-o", str(tmp_path / "out"))
    assert again["result"] == result
    assert answer("explain", "paper-34b-50k", "--show-work")["result"]["work"]


def test_explain_of_what_does_not_fit_prints_and_exits_with_three():
    outcome = ctxsim("explain", "paper-34b-100k")
    assert outcome.code == 3
    assert "KV bytes" in outcome.out
    assert "infeasible: one session needs" in outcome.err
    assert "priced as if the KV pool were as large as it" in outcome.err
    assert ctxsim("explain", "yi-34b-50k-a100", "--set", "model=llama-3.1-405b").code == 3


def test_explain_from_two_simulations(tmp_path):
    outcome = ctxsim("explain", str(small_file(tmp_path)), "--against", "1k", "--simulate")
    assert outcome.code == 0
    assert "The same from two simulations" in outcome.out
    rows = answer("explain", str(small_file(tmp_path)), "--against", "1k", "--simulate")["result"]["simulated"]["rows"]
    assert {row["quantity"] for row in rows} == {"concurrency", "prefill", "decode", "switching", "idle"}
    refused = ctxsim("explain", "mooncake-replay", "--simulate")
    assert refused.code == 2
    assert "leave --simulate out" in refused.err


def test_a_context_is_a_number_of_tokens():
    refused = ctxsim("explain", "paper-34b-50k", "--against", "4 GB")
    assert refused.code == 2
    assert '--against: expected a whole number of tokens, found "4 GB"' in refused.err


def test_curve_is_a_table_a_series(tmp_path):
    words = ("curve", "yi-34b-50k-a100", "--contexts", "4k,50k,1m", "--hardware", "a100-80gb-sxm,h200-sxm",
             "--techniques", "none", "-o", str(tmp_path / "out"))  # fmt: skip
    outcome = ctxsim(*words)
    assert outcome.code == 0
    assert "h200-sxm, techniques: none" in outcome.out
    assert "1,000,000 tokens: infeasible: one session needs 245.8 GB" in outcome.out
    assert "times as much" in outcome.out
    assert "…" not in outcome.out
    found = answer(*words)
    assert found["schema"] == "ctxsim.curve/1"
    rows = found["result"]["rows"]
    assert [row["status"] for row in rows] == ["ok", "ok", "infeasible"] * 2
    more = rows[1]["cost_usd_per_session"] - rows[0]["cost_usd_per_session"]
    assert rows[1]["marginal_usd_per_1k_tokens"] == more / 46
    assert "elasticity_hbm_bytes" in rows[0]
    assert len(pd.read_parquet(tmp_path / "out" / "rows.parquet")) == 6
    assert (tmp_path / "out" / "curve.svg").exists()


def test_curve_exits_with_what_went_wrong():
    assert ctxsim("curve", "yi-34b-50k-a100", "--contexts", "1m").code == 3
    assert ctxsim("curve", "yi-34b-50k-a100", "--contexts", "1m", "--fit").code == 0
    for words, said in (
        (("--hardware", "nope"), "expected the name of a hardware profile"),
        (("--hardware", "a100-80gb-sxm,a100-80gb-sxm"), "expected names parted by commas, each once"),
        (("--contexts", "4q"), "--contexts"),
        (("--techniques", "nope"), "techniques"),
    ):
        refused = ctxsim("curve", "yi-34b-50k-a100", *words)
        assert refused.code == 2
        assert said in refused.err
