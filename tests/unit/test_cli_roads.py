"""frontier as a command: text, JSON, files, exit codes."""

from __future__ import annotations

import pandas as pd
from command_line import answer, ctxsim

ONE = ("--workers", "1")
FEW = (
    "frontier",
    "yi-34b-50k-a100",
    "--context",
    "100k",
    "--techniques",
    "kv-int4,quest,snapkv,weights-fp8,yoco",
    *ONE,
)


def test_the_answer_comes_first_then_quantities_needs_and_dollars():
    outcome = ctxsim(*FEW, "--target", "4k-parity")
    assert outcome.code == 0
    lines = " ".join(outcome.out.split())
    assert lines.startswith("100,000 tokens of yi-34b-200k on 2 x a100-80gb-sxm can be at parity with 4,000 in 3 of 4")
    assert "not in 1: prefill is" in lines
    assert "If KV weighed nothing concurrency and switching would be at parity; prefill would not: 25.09 s" in lines
    for head in ("The four quantities", "What would be needed", "Dollars of a session by risk", "What was tried"):
        assert head in outcome.out
    assert "lossless < kept < untested < mixed < lost" in lines
    assert "…" not in outcome.out


def test_json_has_every_number_and_is_the_same_again(tmp_path):
    found = answer(*FEW, "-o", str(tmp_path / "out"), "--within", "5%")
    assert found["schema"] == "ctxsim.frontier/1"
    result = found["result"]
    assert (result["context_tokens"], result["target_tokens"], result["within_ratio"]) == (100_000, 4000, 0.05)
    assert set(result["quantities"]) == {"concurrency", "prefill", "decode", "switching"}
    switching = result["quantities"]["switching"]
    assert switching["reached"]
    assert switching["reached_by"]["techniques"] == "snapkv"
    assert switching["reached_by"]["switching_missing_ratio"] <= 1.05
    prefill = result["quantities"]["prefill"]
    assert not prefill["reached"]
    assert prefill["reached_by"] is None
    assert prefill["missing_ratio"] == prefill["best"] / prefill["target"]
    assert len(result["needed"]) == 1
    assert result["levels"][0]["risk_allowed"] == "lossless"
    assert result["search"]["stacks_evaluated"] > 6
    assert result["without_kv"]["prefill_flop"] > 50 * result["without_kv"]["target_prefill_flop"]
    rows = pd.read_parquet(tmp_path / "out" / "rows.parquet")
    assert rows["techniques"].iloc[0] == "none"
    assert rows["quantities_at_parity"].max() == result["together"]["quantities_at_parity"]
    assert (tmp_path / "out" / "frontier.svg").read_text().startswith("<svg")
    assert answer(*FEW, "-o", str(tmp_path / "out"), "--within", "5%")["result"] == result


def test_what_does_not_fit_is_printed_and_exits_with_three():
    outcome = ctxsim("frontier", "yi-34b-50k-a100", "--context", "1m", "--techniques", "quest", *ONE)
    assert outcome.code == 3
    assert "The four quantities" in outcome.out
    assert "infeasible: no stack of techniques makes a session of 1,000,000 tokens fit on 2 x a100" in outcome.err
    assert "does not fit without techniques" in outcome.err
    words = ("frontier", "yi-34b-50k-a100", "--context", "1m", "--techniques", "quest", *ONE)
    assert answer(*words, code=3)["result"]["feasible"] is False
    unfit = ctxsim("frontier", "yi-34b-50k-a100", "--set", "model=llama-3.1-405b")
    assert unfit.code == 3
    assert "over 4,000 tokens, without techniques, weights need" in unfit.err


def test_parity_at_once_needs_nothing():
    outcome = ctxsim("frontier", "paper-34b-4k", "--most", "1", *ONE)
    assert outcome.code == 0
    assert "in 4 of 4 quantities: concurrency by none" in " ".join(outcome.out.split())
    assert "What would be needed" not in outcome.out


def test_wrong_options_are_named():
    for words, said in (
        (("--target", "4q"), '--target: expected a whole number of tokens, found "4q"'),
        (("--context", "x"), "--context: expected a whole number of tokens"),
        (("--within", "x"), '--within: expected a share of at least 0, found "x"; write e.g. 10%'),
        (("--techniques", "kv-int4,"), "--techniques kv-int4,: expected names parted by commas, each once"),
        (("--techniques", "nope"), "expected the name of a technique"),
        (("--techniques", "cla(layers=2)"), 'expected a parameter of cla, found "layers"'),
    ):
        refused = ctxsim("frontier", "yi-34b-50k-a100", *words)
        assert refused.code == 2
        assert said in refused.err
