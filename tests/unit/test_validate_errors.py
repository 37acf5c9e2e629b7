"""Error tables by hand arithmetic, and as pages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctxsim.validate.errors import COLUMNS, DECADES, decade, error_row, error_table
from ctxsim.validate.page import LONG, Section, html, markdown, meanings
from ctxsim.validate.targets import at_least, at_most, target_table, times_at_most

FRAME = pd.DataFrame(
    {
        "family": ["gemm"] * 4 + ["copy"],
        "measured_s": [1.0, 2.0, 4.0, 10.0, 1.0],
        "predicted_s": [1.1, 1.8, 4.0, 15.0, 2.0],
        "band_ratio": [0.1, 0.1, 0.1, 0.1, np.nan],
    }
)


def test_an_error_row_by_hand() -> None:
    """Errors +10 %, -10 %, 0 and +50 %; measured over predicted off by 9, 11, 0 and 33 %, two of them within 10 %."""
    row = error_row(FRAME[:4])
    assert row["rows"] == 4
    assert row["bias_ratio"] == pytest.approx((0.1 - 0.1 + 0.5) / 4)
    assert row["mape_ratio"] == pytest.approx(0.7 / 4)
    assert row["p90_ratio"] == pytest.approx(0.5)
    assert row["worst_ratio"] == pytest.approx(0.5)
    assert row["band_ratio"] == pytest.approx(0.1)
    assert row["covered_ratio"] == pytest.approx(0.5)


def test_a_group_without_a_band_states_none() -> None:
    table = error_table(FRAME, ["family"])
    assert list(table["family"]) == ["copy", "gemm"]
    assert list(table.columns) == ["family", *COLUMNS]
    assert np.isnan(table["band_ratio"][0])
    assert np.isnan(table["covered_ratio"][0])
    assert table["mape_ratio"][0] == pytest.approx(1.0)


def test_decades_are_in_order() -> None:
    found = decade(pd.Series([2_000_000, 1, 1000, 1001, 10_000, 50_000, 100_001]))
    assert list(found) == ["over 1M", "up to 1K", "up to 1K", "1K to 10K", "1K to 10K", "10K to 100K", "100K to 1M"]
    frame = pd.DataFrame({"context": found, "measured_s": 1.0, "predicted_s": 1.0, "band_ratio": np.nan})
    assert list(error_table(frame, ["context"])["context"]) == list(DECADES)


def test_groups_stand_in_the_order_of_the_numbers_in_their_names() -> None:
    frame = pd.DataFrame({"variant": ["bf16-128", "fp8-64", "bf16-64", "bf16-256"], "tp_size": [8, 1, 2, 4]})
    frame = frame.assign(measured_s=1.0, predicted_s=1.0, band_ratio=np.nan)
    assert list(error_table(frame, ["variant"])["variant"]) == ["bf16-64", "bf16-128", "bf16-256", "fp8-64"]
    assert list(error_table(frame, ["tp_size"])["tp_size"]) == [1, 2, 4, 8]


def test_pages_hold_every_cell() -> None:
    table = pd.DataFrame({"family": ["a <b>"], "rows": [1234], "mape_ratio": [0.0567], "band_ratio": [np.nan]})
    sections = [Section("One", "Words & more.", table), Section("Two", "No table.")]
    text = markdown("Title", sections)
    assert "| a <b> | 1,234 | 5.7 % | - |" in text
    assert "| family | rows | mape | band |" in text
    assert "## Two\n\nNo table." in text
    page = html("Title", sections)
    assert '<td class="word">a &lt;b&gt;</td><td>1,234</td><td>5.7 %</td><td>-</td>' in page
    assert "Words &amp; more." in page
    assert "http" not in page
    assert '<div class="box" tabindex="0"><table>' in page


def test_long_tables_are_folded_away_but_for_the_targets() -> None:
    rows = pd.DataFrame({"family": ["gemm"] * (LONG + 1), "rows": 1})
    assert f"<details><summary>{LONG + 1} rows</summary>" in html("Title", [Section("Long", "", rows)])
    assert "<details>" not in html("Title", [Section("Short", "", rows[:LONG])])
    targets = target_table([at_most("MAPE", 0.061, 0.06)] * (LONG + 1))
    page = html("Title", [Section("Targets", "", targets)])
    assert "<details>" not in page
    assert page.count('<td class="word no">no</td>') == LONG + 1


def test_targets_are_kept_or_not_by_what_was_found() -> None:
    found = [at_most("error", 0.06, 0.06), at_least("covered", 0.899, 0.9), times_at_most("width", 2.617, 2.5)]
    assert target_table(found).to_dict("records") == [
        {"target": "error", "limit": "at most 6 %", "measured": "6.0 %", "met": True},
        {"target": "covered", "limit": "at least 90 %", "measured": "89.9 %", "met": False},
        {"target": "width", "limit": "at most 2.5 x", "measured": "2.62 x", "met": False},
    ]


def test_every_column_is_explained() -> None:
    assert all(meaning in meanings() for meaning in COLUMNS.values())
