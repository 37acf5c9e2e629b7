"""What a scenario computes, by its simulation; needs torch, for the engine's package does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.measure import mix
from ctxsim.measure.mix import decoding_shares
from ctxsim.records.tables import Table
from ctxsim.spec.scenario import load_scenario

COLUMNS = ("decoding", "new_tokens", "decode_tokens", "iterations", "first_s", "growth_s")


def _shares(monkeypatch, *rows):
    runs = Table(dict(zip(COLUMNS, np.array(rows).T, strict=True)))
    result = SimpleNamespace(tables={"runs": SimpleNamespace(table=lambda: runs)})
    monkeypatch.setattr(mix, "simulate", lambda scenario: result)
    return decoding_shares(load_scenario("cpu-small"), (1, 2, 4, 8))


def test_shares_are_of_the_time_in_which_only_decoding_goes_on(monkeypatch):
    """Ten iterations of 1.0 to 1.9 s with two sequences, one of 5.5 s with six (nearer to eight than to four, by
    ratio), and a chunk beside four."""
    rows = ((2, 2, 2, 10, 1.0, 0.1), (6, 6, 6, 1, 5.5, 0.0), (4, 516, 4, 1, 9.0, 0.0))
    assert _shares(monkeypatch, *rows) == pytest.approx([0.0, 14.5 / 20, 0.0, 5.5 / 20])


def test_shares_are_equal_where_nothing_only_decodes(monkeypatch):
    assert _shares(monkeypatch, (4, 516, 4, 1, 9.0, 0.0)) == [0.25] * 4


def test_shares_of_a_scenario_that_is_simulated():
    """HBM of cpu-small has room for two to four of its sessions."""
    one, two, three, four, eight = decoding_shares(load_scenario("cpu-small"), (1, 2, 3, 4, 8))
    assert one + two + three + four == pytest.approx(1.0)
    assert min(one, two, three, four) > 0.0
    assert eight == 0.0
