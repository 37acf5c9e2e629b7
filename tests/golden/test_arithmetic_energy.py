"""Energy of multiplications and additions, against EcoFormer's table (arXiv 2209.09004): within 0.2 %, its rounding."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ctxsim.cost.arithmetic_energy import arithmetic_j

ROWS = list(csv.DictReader(Path(__file__).with_name("arithmetic_energy.csv").read_text().splitlines()))
BILLION = 1e9
PJ = 1e-12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_energy(row: dict[str, str]) -> None:
    counts = (float(row[f"billion_{what}"]) * BILLION for what in ("multiplications", "additions"))
    expected_j = float(row["billion_pj"]) * BILLION * PJ
    assert arithmetic_j(*counts) == pytest.approx(expected_j, rel=float(row["tolerance"]))
