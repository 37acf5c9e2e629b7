"""Tables: the columns they promise, in units their names end in."""

from __future__ import annotations

import numpy as np
import pytest
from support.real import closed_requests

from ctxsim.records import REQUEST_COLUMNS, RUN_COLUMNS, SESSION_COLUMNS, Column, Table, run_columns, table
from ctxsim.sim import simulate

COLUMNS = (Column("request", "int64", "a number"), Column("ttft_s", "float64", "a time"))
UNITS = ("_s", "_bytes", "_tokens")
COUNTS = (
    {"request", "session", "turn", "turns", "replica"}
    | {"preemptions", "iterations", "sequences", "decoding", "waiting"}
)  # fmt: skip


def test_rows_become_columns_of_their_types() -> None:
    found = table(COLUMNS, [(1, 0.5), (2, 1.5)])
    assert len(found) == 2
    assert found["request"].dtype == np.int64
    assert list(found["request"]) == [1, 2]
    assert list(found["ttft_s"]) == [0.5, 1.5]


def test_no_rows_leave_the_columns() -> None:
    found = table(COLUMNS, [])
    assert len(found) == 0
    assert list(found.columns) == ["request", "ttft_s"]
    assert found["request"].dtype == np.int64


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        table(COLUMNS, [(1, 0.5, 9.0)])


def test_frame_has_the_same_values() -> None:
    frame = table(COLUMNS, [(1, 0.5), (2, np.nan)]).frame()
    assert list(frame.columns) == ["request", "ttft_s"]
    assert frame["request"].tolist() == [1, 2]
    assert np.isnan(frame["ttft_s"][1])


@pytest.mark.parametrize("columns", [REQUEST_COLUMNS, SESSION_COLUMNS, RUN_COLUMNS])
def test_names_are_unique_end_in_a_unit_and_have_a_meaning(columns: tuple[Column, ...]) -> None:
    names = [c.name for c in columns]
    assert len(set(names)) == len(names)
    assert [n for n in names if n not in COUNTS and not n.endswith(UNITS)] == []
    assert all(c.meaning for c in columns)


def test_run_columns_name_every_kernel() -> None:
    names = [c.name for c in run_columns(2)]
    assert names[: len(RUN_COLUMNS)] == [c.name for c in RUN_COLUMNS]
    assert names[len(RUN_COLUMNS) :] == [
        "pairs_0", "pairs_1", "pairs_growth_0", "pairs_growth_1",
        "touched_tokens_0", "touched_tokens_1", "touched_growth_tokens_0", "touched_growth_tokens_1",
    ]  # fmt: skip


def test_a_simulation_fills_every_column() -> None:
    simulation = simulate(closed_requests("gemma-3-27b", prompt=50, output=5, users=2, num_requests=4))
    tables: list[tuple[Table, tuple[Column, ...]]] = [
        (simulation.requests, REQUEST_COLUMNS),
        (simulation.sessions, SESSION_COLUMNS),
        (simulation.runs, run_columns(2)),
    ]
    for found, columns in tables:
        assert [(n, str(v.dtype)) for n, v in found.columns.items()] == [(c.name, c.dtype) for c in columns]
        assert len(found) > 0
    requests = simulation.requests
    assert np.array_equal(requests["ttft_s"], requests["first_token_s"] - requests["arrival_s"])
    assert np.array_equal(requests["e2e_s"], requests["finished_s"] - requests["arrival_s"])
    assert np.array_equal(requests["queue_s"], requests["admitted_s"] - requests["arrival_s"])
    assert requests["tpot_s"] == pytest.approx((requests["e2e_s"] - requests["ttft_s"]) / 4, rel=1e-12)
    assert list(simulation.sessions["turns"]) == [1, 1, 1, 1]


def test_a_request_of_one_token_has_no_time_per_token() -> None:
    requests = simulate(closed_requests("llama-3.1-8b", prompt=50, output=1)).requests
    assert np.isnan(requests["tpot_s"][0])
