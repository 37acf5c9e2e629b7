"""The frontier from Python: frame, page, picture, file."""

from __future__ import annotations

import pandas as pd
import pytest
from test_api_deciding import is_drawn

import ctxsim
from ctxsim.errors import SpecError

FEW = ["kv-int4", "quest", "snapkv", "yoco", "cla(layers_per_group=0)"]


def test_a_frontier_is_rows_levels_findings_and_a_picture(tmp_path):
    found = ctxsim.frontier("yi-34b-50k-a100", "4k", context="100k", techniques=FEW, most=2)
    assert found.frame["techniques"].iloc[0] == "none"
    assert set(found.frame["quantities_at_parity"]) <= {0, 1, 2, 3, 4}
    assert (found.frame["switching_missing_ratio"] > 0).all()
    assert repr(found) == f"<yi-34b-50k-a100: 100,000 tokens at the cost of 4,000: {len(found.rows)} rows>"
    assert found.findings[0] == found.finding
    assert len(found.findings) == 3 + sum(reach.reached_by is None for reach in found.found.reaches)
    assert "prefill would not" in found._repr_html_()
    assert "<table>" in found._repr_html_()
    assert is_drawn(found.plot.risk()) == 1
    written = pd.read_parquet(found.save(tmp_path / "kept") / "rows.parquet")
    assert list(written["prefill_s"]) == list(found.frame["prefill_s"])
    assert found.levels[0]["cheapest_techniques"] == "none"


def test_a_frontier_of_a_scenario_or_its_name_is_the_same():
    by_name = ctxsim.frontier("paper-34b-50k", 4000, techniques=FEW, most=1, within="10%")
    loaded = ctxsim.frontier(ctxsim.load("paper-34b-50k"), "4k-parity", techniques=FEW, most=1, within=0.1)
    assert loaded.rows == by_name.rows
    assert is_drawn(ctxsim.frontier("paper-34b-1m", techniques=[], most=1).plot.risk()) == 1
    with pytest.raises(SpecError, match="target: expected a whole number of tokens"):
        ctxsim.frontier("paper-34b-50k", "x")
    with pytest.raises(SpecError, match="context: expected a whole number of tokens"):
        ctxsim.frontier("paper-34b-50k", context="x")
