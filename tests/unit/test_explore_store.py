"""Outcomes on disk: found whole or not at all."""

from __future__ import annotations

import pytest
from pyarrow.parquet import read_metadata

from ctxsim.errors import SpecError
from ctxsim.explore import Outcome
from ctxsim.explore.store import Store, whole_file, write_rows

GOOD = Outcome("ok", None, {"a_s": 1.5, "n": 3, "flag": True, "word": "x", "none": None})


def test_what_was_put_is_found_as_it_was(tmp_path):
    store = Store(tmp_path / "new" / "folder")
    store.put("k", GOOD)
    found = store.find("k")
    assert found == GOOD
    assert {name: type(value) for name, value in found.row.items()} == {n: type(v) for n, v in GOOD.row.items()}
    assert store.find("other") is None


def test_what_failed_is_tried_again_the_next_time(tmp_path):
    store = Store(tmp_path)
    store.put("k", Outcome("failed", "no memory", {}))
    assert store.find("k") is None
    store.put("i", Outcome("infeasible", "why", {}))
    assert store.find("i") == Outcome("infeasible", "why", {})


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_torn_file_counts_as_none(tmp_path, share):
    store = Store(tmp_path)
    store.put("k", GOOD)
    path = tmp_path / "parts" / "k.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert store.find("k") is None
    store.put("k", GOOD)
    assert store.find("k") == GOOD
    assert path.read_bytes() == whole


def test_another_table_of_that_name_counts_as_none(tmp_path):
    store = Store(tmp_path)
    write_rows([{"x": 1}], tmp_path / "parts" / "k.parquet", {})
    write_rows([{"status": "ok", "reason": None}] * 2, tmp_path / "parts" / "l.parquet", {})
    assert store.find("k") is None
    assert store.find("l") is None


def test_a_store_of_nothing_keeps_nothing():
    store = Store(None)
    store.put("k", GOOD)
    assert store.find("k") is None


def test_rows_lack_what_others_have(tmp_path):
    path = tmp_path / "rows.parquet"
    write_rows([{"a": 1}, {"a": 2.5, "b": "x"}], path, {"by": "hand"})
    first = path.read_bytes()
    write_rows([{"a": 1}, {"a": 2.5, "b": "x"}], path, {"by": "hand"})
    assert path.read_bytes() == first
    assert read_metadata(path).metadata[b"ctxsim"] == b'{"by": "hand"}'
    assert [found.name for found in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_file_that_is_not_written_whole_is_not_there(tmp_path):
    def fail():
        with whole_file(tmp_path / "x") as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="expected a folder for results"):
        Store(tmp_path / "file")
    with pytest.raises(SpecError, match="expected a place that can be written to"):
        write_rows([{"a": 1}], tmp_path / "none" / "x.parquet", {})
