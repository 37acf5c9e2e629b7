"""Rows with more columns beside them: the same whole, by column and by part."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.records import GAP_COLUMNS, Records, Rows, sorted_by, widened


def rows(part_rows: int) -> Records:
    growing = Rows(GAP_COLUMNS, part_rows=part_rows)
    for i in range(7):
        growing.append((float(7 - i), float(i)))
    return sorted_by(growing, "end_s")


@pytest.mark.parametrize("records", [rows(2), rows(2).table()], ids=["grown", "in memory"])
def test_columns_beside_rows(records: Records) -> None:
    usd = np.arange(7.0) * 10
    found = widened(records, {"cost_usd": usd})
    assert found.names == ("end_s", "pause_s", "cost_usd")
    assert len(found) == 7
    assert np.array_equal(found["end_s"], np.arange(1.0, 8.0))
    assert np.array_equal(found["cost_usd"], usd)
    assert np.array_equal(found.table()["cost_usd"], usd)
    parts = list(found.parts())
    for name in found.names:
        assert np.array_equal(np.concatenate([part[name] for part in parts]), found[name])
