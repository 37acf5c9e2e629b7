"""Explanations and cost curves from Python: frames, pages, pictures, files."""

from __future__ import annotations

import pandas as pd
import pytest
from exploring import small, small_file
from test_api_deciding import is_drawn

import ctxsim
from ctxsim.errors import SpecError


def test_an_explanation_is_rows_and_a_waterfall(tmp_path):
    found = ctxsim.explain(small_file(tmp_path), "1k")
    assert found.frame["extra_usd"].sum() == pytest.approx(found.explanation.extra.usd)
    assert set(found.frame["quantity"]) == {"concurrency", "prefill", "decode", "switching"}
    assert repr(found) == "<small: 4,000 tokens against 1,000: 24 rows>"
    assert "KV bytes" in found._repr_html_()
    assert "<table>" in found._repr_html_()
    assert found.work[0].startswith("at 4,000 tokens")
    assert is_drawn(found.plot.waterfall()) == 1
    assert is_drawn(found.plot.waterfall("s")) == 1
    assert found.simulated_rows == []
    with pytest.raises(SpecError, match='expected usd or s, found "x"'):
        found.plot.waterfall("x")
    with pytest.raises(SpecError, match="expected a whole number of tokens"):
        ctxsim.explain(small(tmp_path), "x")
    assert ctxsim.explain(small(tmp_path), 4_000).explanation.extra.usd == 0
    assert is_drawn(ctxsim.explain(small(tmp_path), 4_000).plot.waterfall()) == 1
    written = pd.read_parquet(found.save(tmp_path / "kept") / "rows.parquet")
    assert list(written["extra_s"]) == list(found.frame["extra_s"])
    assert ctxsim.explain(small(tmp_path), "1k", simulate=True).simulated_rows


def test_a_cost_curve_is_rows_and_two_lines(tmp_path):
    found = ctxsim.cost_curve("yi-34b-50k-a100", [4_000, 50_000, 1_000_000], hardware=["a100-80gb-sxm", "h200-sxm"])
    assert list(found.frame["status"]) == ["ok", "ok", "infeasible"] * 2
    assert len(found.findings) == 2
    assert is_drawn(found.plot.curve()) == 2
    assert repr(found) == "<cost curve of 2 series over 4,000 tokens and more: 6 rows>"
    again = ctxsim.cost_curve(ctxsim.load("yi-34b-50k-a100"), "4k,50k,1m", techniques=[[]])
    assert again.rows == [row for row in found.rows if row["hardware"] == "a100-80gb-sxm"]
    assert ctxsim.cost_curve(small(tmp_path), "4k", fit=True).frame["tensor_parallel"].tolist() == [1]
