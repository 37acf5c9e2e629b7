"""The table of measurements and its files; nothing here needs torch."""

from __future__ import annotations

from dataclasses import fields

import pandas as pd
import pytest
from test_imports import loaded_after

from ctxsim.errors import SpecError
from ctxsim.measure import COLUMNS, Point, RowsFile, measure, read, write
from ctxsim.measure.rows import row
from ctxsim.records.measured import BARE_NORM, KEY_COLUMNS, frame_of

GEMM = Point("gemm", "bf16", m=4, n=16, k=8)
META = {"device": "a device", "budget_s": 60.0, "families": ["gemm"]}


def measured(point: Point = GEMM, seconds: float = 0.25) -> dict[str, object]:
    return row(point, seconds, 0.01, 7)


def test_a_point_is_the_key_of_a_row():
    assert [c.name for c in KEY_COLUMNS] == [field.name for field in fields(Point)]
    assert list(measured()) == [c.name for c in COLUMNS]


def test_an_empty_frame_has_every_column_in_its_type():
    empty = frame_of([])
    assert list(empty.columns) == [c.name for c in COLUMNS]
    assert {c.name: str(empty[c.name].dtype) for c in COLUMNS if c.dtype != "object"} == {
        c.name: c.dtype for c in COLUMNS if c.dtype != "object"
    }


def test_what_is_written_is_read(tmp_path):
    copied = Point("copy", moved_bytes=64, block_bytes=16, descriptors=4, direction="to_host", pinned=True)
    frame = frame_of([measured(), measured(copied, 0.5)])
    write(frame, META, tmp_path / "rows.parquet")
    found, meta = read(tmp_path / "rows.parquet")
    assert found.astype(str).equals(frame.astype(str))
    assert meta == META
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_rows_are_on_disk_while_others_are_still_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("ctxsim.measure.rows.SAVE_EVERY_S", 0.0)
    path = tmp_path / "rows.parquet"
    with RowsFile(path, META) as file:
        assert len(read(path)[0]) == 0
        file.add(measured())
        assert len(read(path)[0]) == 1


def test_an_interrupt_leaves_what_there_was(tmp_path):
    path = tmp_path / "rows.parquet"
    file = RowsFile(path, META).__enter__()
    file.add(measured())
    file.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert read(path)[0]["seconds"].tolist() == [0.25]


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    with pytest.raises(SpecError, match=r"expected a place to write measurements to, .*; name another file"):
        RowsFile(tmp_path / "none" / "rows.parquet", META).__enter__()


def _no_parquet(path):
    path.write_text("seconds\n1\n")


def _not_ours(path):
    pd.DataFrame({"seconds": [1.0]}).to_parquet(path)


def _lacking(path):
    write(frame_of([measured()]), META, path)
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(path).drop_columns(["iqr_s", "m"]), path)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "none of that name"),
        (_no_parquet, "Parquet magic bytes not found"),
        (_not_ours, "a Parquet file without them"),
        (_lacking, "a file without m, iqr_s"),
    ],
)
def test_what_is_no_file_of_measurements_is_refused(tmp_path, make, found):
    path = tmp_path / "rows.parquet"
    make(path)
    with pytest.raises(SpecError, match=f"expected measurements, found .*{found}.*; name a file that ctxsim measure"):
        read(path)


def test_importing_it_loads_neither_torch_nor_tables():
    assert not loaded_after("import ctxsim.measure") & {"torch", "pandas", "pyarrow", "scipy"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"families": ["gem"]}, 'families: expected some of gemm, .*, found "gem"; did you mean "gemm"?'),
        ({"families": []}, "families: expected some of gemm, .*, found none"),
        ({"budget_s": 0.0}, "budget: expected some time, found 0 s; give at least a minute"),
    ],
)
def test_a_wrong_request_is_refused_without_torch(arguments, message):
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        measure("cpu", **arguments)


# Formulas


def test_flop_of_a_product_count_a_multiply_add_as_two():
    assert GEMM.flop == 2 * 4 * 16 * 8
    assert GEMM.touched_bytes == 2 * (4 * 8 + 16 * 8 + 4 * 16)


def test_flop_of_attention_count_visible_pairs_only():
    """Three queries after two past tokens see 3, 4 and 5 keys; each pair takes 4 FLOP a value in every head."""
    chunk = Point(
        "prefill_attention", "bf16", "bf16", batch=2, heads=4, kv_heads=2, head_dim=8, new_tokens=3, past_tokens=2
    )
    assert chunk.pairs == 3 + 4 + 5
    assert chunk.flop == 4 * 2 * 4 * 8 * 12
    assert chunk.touched_bytes == 2 * 2 * 8 * (2 * 3 * 4 + 2 * 5 * 2), "queries, outputs, keys and values"


def test_a_decode_step_is_one_new_token_that_sees_itself_too():
    step = Point(
        "decode_attention", "bf16", "bf16", batch=1, heads=4, kv_heads=4, head_dim=8, new_tokens=1, past_tokens=9
    )
    assert (step.pairs, step.total_tokens, step.flop) == (10, 10, 4 * 4 * 8 * 10)


def test_a_copy_within_the_device_reads_and_writes():
    copied = Point("copy", moved_bytes=64, block_bytes=64, descriptors=1, direction="device")
    assert (copied.touched_bytes, copied.flop) == (128, 0)


def test_a_point_says_what_it_is():
    assert str(GEMM) == "gemm dtype=bf16 m=4 n=16 k=8"


def test_files_from_before_small_kernels_had_names_are_read_as_bare_norms(tmp_path):
    from pyarrow.parquet import read_table, write_table

    norm = Point("elementwise", "fp32", m=4, n=8, moved_bytes=256, variant="norm")
    write(frame_of([measured(), measured(norm)]), META, tmp_path / "rows.parquet")
    write_table(read_table(tmp_path / "rows.parquet").drop(["variant"]), tmp_path / "old.parquet")
    found, _ = read(tmp_path / "old.parquet")
    assert list(found.columns) == [c.name for c in COLUMNS]
    assert found["variant"].tolist() == ["", BARE_NORM]
