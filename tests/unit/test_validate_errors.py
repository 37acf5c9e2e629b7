"""Error tables by hand arithmetic, and as pages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctxsim.validate.errors import COLUMNS, decade, error_row, error_table
from ctxsim.validate.page import Section, html, markdown, meanings

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
    found = decade(pd.Series([1, 1000, 1001, 10_000, 50_000, 100_001, 2_000_000]))
    assert [name[0] for name in found] == ["0", "0", "1", "1", "2", "3", "4"]
    assert found[0] == "0 up to 1K"


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


def test_every_column_is_explained() -> None:
    assert all(meaning in meanings() for meaning in COLUMNS.values())
