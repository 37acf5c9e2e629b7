"""Tables: the columns they promise, in units their names end in; and tables that grow, in memory and on disk."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.real import closed_requests

from ctxsim.records import (
    GAP_COLUMNS,
    MONEY_COLUMNS,
    REQUEST_COLUMNS,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    TRANSFER_COLUMNS,
    Column,
    Records,
    Rows,
    Table,
    run_columns,
    simulated_run_columns,
    sorted_by,
    table,
)
from ctxsim.records.rows import BUFFER_ROWS
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

COLUMNS = (Column("request", "int64", "a number"), Column("ttft_s", "float64", "a time"))
UNITS = ("_s", "_bytes", "_tokens", "_usd")
COUNTS = (
    {"request", "session", "turn", "turns", "replica", "transfer"}
    | {"preemptions", "iterations", "sequences", "decoding", "waiting", "resumed", "descriptors", "tokens"}
)  # fmt: skip
TIERS = {"source", "target"}


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
    with pytest.raises(struct.error, match="expected 2 items"):
        table(COLUMNS, [(1, 0.5, 9.0)])


def test_a_fraction_is_no_whole_number() -> None:
    with pytest.raises(struct.error):
        table(COLUMNS, [(1.5, 0.5)])


def test_whole_numbers_are_kept_to_the_last_digit() -> None:
    """Beyond 2**53, where a float would round them."""
    assert table(COLUMNS, [(2**53 + 1, 0.5)])["request"][0] == 2**53 + 1


def test_frame_has_the_same_values() -> None:
    frame = table(COLUMNS, [(1, 0.5), (2, np.nan)]).frame()
    assert list(frame.columns) == ["request", "ttft_s"]
    assert frame["request"].tolist() == [1, 2]
    assert np.isnan(frame["ttft_s"][1])


@pytest.mark.parametrize(
    "columns",
    [REQUEST_COLUMNS + MONEY_COLUMNS, SESSION_COLUMNS + MONEY_COLUMNS, RUN_COLUMNS, TRANSFER_COLUMNS, GAP_COLUMNS],
)
def test_names_are_unique_end_in_a_unit_and_have_a_meaning(columns: tuple[Column, ...]) -> None:
    names = [c.name for c in columns]
    assert len(set(names)) == len(names)
    assert [n for n in names if n not in COUNTS | TIERS and not n.endswith(UNITS)] == []
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
    swapping = simulate(load_scenario("yi-34b-50k-a100", {"run.horizon": "20 min"}))
    tables: list[tuple[Records, tuple[Column, ...]]] = [
        (simulation.requests, REQUEST_COLUMNS + MONEY_COLUMNS),
        (simulation.sessions, SESSION_COLUMNS + MONEY_COLUMNS),
        (simulation.runs, simulated_run_columns(2)),
        (swapping.transfers, TRANSFER_COLUMNS),
    ]
    for found, columns in tables:
        whole = found.table()
        assert [(n, str(v.dtype)) for n, v in whole.columns.items()] == [(c.name, c.dtype) for c in columns]
        assert len(whole) == len(found) > 0
    requests = simulation.requests
    assert np.array_equal(requests["ttft_s"], requests["first_token_s"] - requests["arrival_s"])
    assert np.array_equal(requests["e2e_s"], requests["finished_s"] - requests["arrival_s"])
    assert np.array_equal(requests["queue_s"], requests["admitted_s"] - requests["arrival_s"])
    assert requests["tpot_s"] == pytest.approx((requests["e2e_s"] - requests["ttft_s"]) / 4, rel=1e-12)
    assert list(simulation.sessions["turns"]) == [1, 1, 1, 1]


def test_a_request_of_one_token_has_no_time_per_token() -> None:
    requests = simulate(closed_requests("llama-3.1-8b", prompt=50, output=1)).requests
    assert np.isnan(requests["tpot_s"][0])


def grown(number: int, spool: Path | None = None, part_rows: int = 10, read_at: int = -1) -> Rows:
    """Rows 0, 1, 2, ... with half of that as their time; read once on the way where asked for."""
    rows = Rows(COLUMNS, spool, part_rows)
    for i in range(number):
        rows.append((i, i / 2))
        if i == read_at:
            rows.column("request")
    return rows


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 20, 35])
def test_rows_are_what_was_appended(number: int, on_disk: bool, tmp_path: Path) -> None:
    rows = grown(number, tmp_path / "rows" if on_disk else None, read_at=7)
    expected = np.arange(number)
    assert len(rows) == number
    assert [len(part) for part in rows.parts()] == [10] * (number // 10) + [number % 10] * (number % 10 > 0)
    for found in (rows, rows.table()):
        assert found.names == ("request", "ttft_s")
        assert np.array_equal(found.column("request"), expected)
        assert np.array_equal(found["ttft_s"], expected / 2)
        assert (found["request"].dtype, found["ttft_s"].dtype) == (np.int64, np.float64)
    assert np.array_equal(np.concatenate([[], *(part["request"] for part in rows.parts())]), expected)


def test_rows_that_were_read_go_on_growing() -> None:
    rows = grown(23)
    assert rows["request"][-1] == 22
    rows.append((99, 1.0))
    assert rows["request"][-1] == 99
    for i in range(16):
        rows.append((i, 1.0))
    assert len(rows) == 40
    assert [len(part) for part in rows.parts()] == [10] * 4
    assert list(rows["request"][23:26]) == [99, 0, 1]


@pytest.mark.parametrize("part_rows", [1, 3, BUFFER_ROWS - 1, BUFFER_ROWS, BUFFER_ROWS + 1, 3 * BUFFER_ROWS])
def test_parts_have_the_size_that_was_asked_for(part_rows: int) -> None:
    number = min(2 * part_rows + 1, 30_000)
    parts = [len(part) for part in grown(number, part_rows=part_rows).parts()]
    assert parts[:-1] == [part_rows] * (number // part_rows - (number % part_rows == 0))
    assert sum(parts) == number


def test_full_parts_lie_on_disk_as_they_fill(tmp_path: Path) -> None:
    """Each a whole file that others can read; nothing is made before there is a full one."""
    folder = tmp_path / "deep" / "rows"
    rows = grown(9, folder)
    assert len(rows["request"]) == 9
    assert not folder.exists()
    for i in range(9, 25):
        rows.append((i, i / 2))
    assert sorted(path.name for path in folder.iterdir()) == ["part-000000.arrow", "part-000001.arrow"]
    part = pd.read_feather(folder / "part-000001.arrow")
    assert part["request"].tolist() == list(range(10, 20))
    assert part["ttft_s"].tolist() == [i / 2 for i in range(10, 20)]


def test_a_part_that_cannot_be_written_whole_bears_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(table: object, path: Path, **_: object) -> None:
        path.write_text("half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.feather.write_feather", full)
    with pytest.raises(OSError, match="No space left"):
        grown(10, tmp_path / "rows")
    assert list((tmp_path / "rows").glob("*.arrow")) == []


def test_not_a_number_stays_one_on_disk(tmp_path: Path) -> None:
    rows = Rows(COLUMNS, tmp_path / "rows", part_rows=1)
    rows.append((1, np.nan))
    assert np.isnan(rows["ttft_s"][0])


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("number", [1, 45])
def test_rows_in_another_order(number: int, on_disk: bool, tmp_path: Path) -> None:
    """By time, then by number; the same from rows, in memory and on disk, and from a table."""
    rng = np.random.default_rng(3)
    rows = Rows(COLUMNS, tmp_path / "rows" if on_disk else None, part_rows=10)
    pairs = [(int(i), float(t)) for i, t in zip(rng.permutation(number), rng.integers(0, 8, number), strict=True)]
    for pair in pairs:
        rows.append(pair)
    expected = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    for found in (sorted_by(rows, "ttft_s", "request"), sorted_by(rows.table(), "ttft_s", "request")):
        assert len(found) == number
        assert found.names == rows.names
        whole = Table({name: np.concatenate([part[name] for part in found.parts()]) for name in found.names})
        for one in (found, found.table(), whole):
            assert list(zip(one["request"].tolist(), one["ttft_s"].tolist(), strict=True)) == expected


def test_an_empty_table_has_no_parts() -> None:
    assert list(table(COLUMNS, []).parts()) == []
    assert list(sorted_by(Rows(COLUMNS), "request").parts()) == []
