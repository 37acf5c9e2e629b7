"""The Python interface: results that notebooks show, and results on disk."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import REQUESTS, ctxsim

import ctxsim as cs
from ctxsim.api.jsonable import counts_amount, jsonable
from ctxsim.api.results import SimulationResult, simulation_result
from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.human import human
from ctxsim.records import (
    MONEY_COLUMNS,
    REQUEST_COLUMNS,
    SESSION_COLUMNS,
    TRANSFER_COLUMNS,
    Rows,
    simulated_run_columns,
)
from ctxsim.sim import simulate

TABLES = ("requests", "sessions", "runs", "transfers", "gaps")


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The path of a small scenario."""
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    return str(path)


@pytest.fixture
def result(scenario: str) -> SimulationResult:
    """A small simulation, some requests of it with a single output token."""
    lengths = "{kind: uniform, min: 1, max: 2}"
    return cs.simulate(cs.load(scenario, {"workload.output_tokens": lengths}), seed=3)


def test_analysis_is_shown_with_its_warnings() -> None:
    found = cs.analyze(cs.load("llama-8b-chat", overrides={"serving.max_model_len": 200_000}))
    assert found.feasible
    assert found.keys["kv_bytes_per_token"] == 131_072
    page = found._repr_html_()
    assert "<th>kv_bytes_per_token</th><td>131.1 kB</td>" in page
    assert "<b>warning:</b> serving.max_model_len 200000" in page
    assert repr(found).startswith("<analysis of llama-8b-chat: 226.5 sessions fit, 7200 sessions/hour at most")


def test_an_infeasible_analysis_still_has_its_keys() -> None:
    found = cs.analyze(cs.load("paper-34b-1m"))
    assert not found.feasible
    assert found.keys["prefill_s"] == pytest.approx(1793.2, rel=1e-4)
    with pytest.raises(InfeasibleError, match="the shortest request"):
        cs.simulate(found.scenario)


def test_grid_is_part_of_the_interface() -> None:
    grid = cs.analyze_grid(cs.load("paper-34b-50k"), document_tokens=np.array([50_000, 100_000]))
    assert grid["prefill_s"][0] == pytest.approx(14.836, abs=5e-4)
    assert grid["prefill_s"].shape == (2,)


def test_simulation_has_frames_summary_and_page(result: SimulationResult) -> None:
    assert list(result.requests.columns) == [c.name for c in REQUEST_COLUMNS + MONEY_COLUMNS]
    assert list(result.sessions.columns) == [c.name for c in SESSION_COLUMNS + MONEY_COLUMNS]
    assert list(result.runs.columns) == [c.name for c in simulated_run_columns(1)]
    assert list(result.transfers.columns) == [c.name for c in TRANSFER_COLUMNS]
    assert list(result.requests["arrival_s"]) == sorted(result.requests["arrival_s"])
    assert len(result.requests) == result.summary["completed_requests"] == 10
    assert result.requests is result.requests
    assert "<th>ttft_s.p95</th>" in result._repr_html_()
    assert "<th>money.parts_usd.decode</th>" in result._repr_html_()
    assert result.replications is None
    assert repr(result).startswith("<simulation: 10 of 10 requests completed in ")


def test_page_escapes_names() -> None:
    analysis = cs.analyze(cs.load("paper-34b-50k", {"name": "<script>"}))
    assert "<script>" not in analysis._repr_html_()
    assert "&lt;script&gt;" in analysis._repr_html_()


def test_the_seed_is_part_of_the_scenario(scenario: str) -> None:
    loaded = cs.load(scenario)
    plain, other = cs.simulate(loaded), cs.simulate(loaded, seed=5)
    assert plain.scenario_sha256 == loaded.sha256
    assert other.scenario_sha256 == cs.load(scenario, {"run.seed": 5}).sha256 != loaded.sha256
    assert other.summary != plain.summary
    for seed in (-1, 2**63):
        with pytest.raises(SpecError, match=f"run.seed: expected a whole number from 0 to .*, found {seed}"):
            cs.simulate(loaded, seed=seed)


def test_saved_results_are_the_same_when_loaded(result: SimulationResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "deep" / "results")
    assert {path.name for path in folder.iterdir()} == {
        "requests.parquet", "sessions.parquet", "runs.parquet", "transfers.parquet", "gaps.parquet",
        "summary.json", "scenario.yaml",
    }  # fmt: skip
    loaded = cs.load_result(folder)
    assert loaded.summary == json.loads(json.dumps(result.summary))
    assert (loaded.warnings, loaded.scenario_sha256) == (result.warnings, result.scenario_sha256)
    for name in TABLES:
        ours, theirs = result.tables[name], loaded.tables[name]
        assert (theirs.names, len(theirs)) == (ours.names, len(ours))
        for column in ours.names:
            for found in (theirs, theirs.table()):
                assert found[column].dtype == ours[column].dtype
                np.testing.assert_array_equal(found[column], ours[column])
    assert loaded.requests.equals(result.requests)
    again = cs.load(folder / "scenario.yaml")
    assert again.sha256 == result.scenario_sha256
    assert cs.simulate(again).summary == result.summary


def test_saving_twice_gives_the_same_bytes(result: SimulationResult, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in result.save(tmp_path / "a").iterdir()}
    second = {path.name: path.read_bytes() for path in result.save(tmp_path / "a").iterdir()}
    assert first == second


def test_columns_carry_their_meaning(result: SimulationResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "results")
    schema = pq.read_schema(folder / "requests.parquet")
    for column in REQUEST_COLUMNS + MONEY_COLUMNS:
        assert schema.field(column.name).metadata[b"meaning"].decode() == column.meaning
    assert schema.metadata[b"ctxsim.schema"] == b"ctxsim.requests/1"
    assert schema.metadata[b"ctxsim.scenario_sha256"].decode() == result.scenario_sha256
    assert json.loads(schema.metadata[b"ctxsim.meanings"])["ttft_s"] == "first token - arrival"
    assert pq.read_schema(folder / "runs.parquet").field("pairs_0").metadata[b"meaning"].endswith(b"kernel 0")


def test_what_has_no_value_is_null_on_disk(result: SimulationResult, tmp_path: Path) -> None:
    single = result.tables["requests"]["output_tokens"] < 2
    assert 0 < np.count_nonzero(single) < 10
    column = pq.read_table(result.save(tmp_path / "results") / "requests.parquet")["tpot_s"]
    assert column.is_null().to_pylist() == single.tolist()


def test_a_failed_save_leaves_the_old_results(
    result: SimulationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = result.save(tmp_path / "results")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(SpecError, match=r"found one that cannot be written to \(No space left on device\)"):
        result.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_out_writes_what_save_writes(scenario: str, tmp_path: Path) -> None:
    outcome = ctxsim("simulate", scenario, "--out", str(tmp_path / "out"), "--json")
    saved = cs.simulate(cs.load(scenario)).save(tmp_path / "saved")
    for path in saved.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    summary = json.loads((saved / "summary.json").read_text())
    printed = json.loads(outcome.out)
    del printed["meta"]
    assert summary == printed


def test_out_of_the_python_interface_writes_the_same_and_reads_it_back(scenario: str, tmp_path: Path) -> None:
    found = cs.simulate(cs.load(scenario), out=tmp_path / "out")
    saved = cs.simulate(cs.load(scenario)).save(tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in saved.iterdir())
    for path in saved.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert found.requests.equals(cs.load_result(saved).requests)


def test_tables_of_saved_results_are_read_when_asked_for(
    result: SimulationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that nobody asks for may be of any size; of one column only that is read."""
    loaded = cs.load_result(result.save(tmp_path / "results"))
    read = pq.read_table
    asked: list[object] = []

    def noted(path: Path, columns: object = None) -> object:
        asked.append((path.name, columns))
        return read(path, columns=columns)

    monkeypatch.setattr(pq, "read_table", noted)
    assert len(loaded.tables["runs"]) == len(result.tables["runs"])
    assert asked == []
    assert loaded.tables["requests"]["ttft_s"].dtype == np.float64
    assert asked == [("requests.parquet", ["ttft_s"])]


def test_long_tables_are_written_part_by_part(result: SimulationResult, tmp_path: Path) -> None:
    """Row groups are the parts that rows come in, and come back as such."""
    runs = Rows(simulated_run_columns(1), part_rows=3)
    whole = result.tables["runs"].table()
    for row in zip(*(whole[name].tolist() for name in whole.names), strict=True):
        runs.append(row)
    parted = SimulationResult(result.summary, (), "", "", {**result.tables, "runs": runs})
    folder = parted.save(tmp_path / "results")
    groups = pq.ParquetFile(folder / "runs.parquet").metadata.num_row_groups
    assert groups == -(-len(runs) // 3) > 2
    parts = list(cs.load_result(folder).tables["runs"].parts())
    assert [len(part) for part in parts] == [len(part) for part in runs.parts()]
    assert np.array_equal(np.concatenate([part["start_s"] for part in parts]), whole["start_s"])


def test_spooled_rows_make_the_same_result(scenario: str, tmp_path: Path) -> None:
    """Rows on disk or in memory, though requests end in another order than they came in."""
    loaded = cs.load(scenario, {"workload.output_tokens": "{kind: uniform, min: 1, max: 500}"})
    memory, disk = simulate(loaded), simulate(loaded, spool=tmp_path / "spool")
    finished_s = disk.requests["finished_s"]
    assert list(finished_s) != sorted(finished_s)
    assert memory.summary == disk.summary
    ours, theirs = (simulation_result(s).requests for s in (memory, disk))
    assert list(theirs["request"]) == list(range(10))
    assert ours.equals(theirs)


def test_loading_what_is_no_result(result: SimulationResult, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"summary\.json: expected a file of a saved simulation, found none of that name"
    ):
        cs.load_result(tmp_path)
    folder = result.save(tmp_path / "results")
    (folder / "runs.parquet").write_text("no table")
    with pytest.raises(SpecError, match=r"runs\.parquet: expected a file of a saved simulation"):
        cs.load_result(folder)
    (folder / "runs.parquet").unlink()
    with pytest.raises(SpecError, match=r"runs\.parquet: expected a file of a saved simulation, found none"):
        cs.load_result(folder)
    (folder / "summary.json").write_text('{"schema": "other/1"}')
    with pytest.raises(SpecError, match=r"found no summary of ctxsim\.simulate/1"):
        cs.load_result(folder)
    (folder / "summary.json").write_text("{")
    with pytest.raises(SpecError, match="found no JSON text"):
        cs.load_result(folder)


def test_json_values() -> None:
    assert jsonable({"a": math.nan, "b": [math.inf, 1.0], "c": np.float64(2.5), "d": np.int64(3), "e": None}) == {
        "a": None, "b": [None, 1.0], "c": 2.5, "d": 3, "e": None
    }  # fmt: skip
    whole = jsonable({"kv_bytes_at": {"4096": 5.0}, "duration_s": 5.0, "weight_bytes": 5.0, "hbm_bytes": 5.5})
    assert json.dumps(whole) == '{"kv_bytes_at": {"4096": 5}, "duration_s": 5.0, "weight_bytes": 5, "hbm_bytes": 5.5}'


@pytest.mark.parametrize(
    ("key", "amount"),
    [
        ("kv_bytes_per_session", True),
        ("prefill_flop", True),
        ("recomputed_tokens", True),
        ("ridge_flop_per_byte", True),
        ("hbm_bytes_per_s", False),
        ("output_tokens_per_s", False),
        ("cost_usd_per_million_output_tokens", False),
        ("prefill_s", False),
    ],
)
def test_which_keys_count_amounts(key: str, amount: bool) -> None:
    assert counts_amount(key) is amount


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("prefill_s", 14.8359, "14.84 s"),
        ("kv_bytes_per_session", 12.288e9, "12.29 GB"),
        ("hbm_bytes_per_s", 2e12, "2 TB/s"),
        ("prefill_flop", 4.6288e15, "4.629 PFLOP"),
        ("ridge_flop_per_byte", 156.0, "156 FLOP/B"),
        ("sessions_per_hour", 95.775, "95.78 /hour"),
        ("output_tokens_per_s", 1159.4, "1,159 /s"),
        ("cost_usd_per_session", 0.055860, "0.05586 USD"),
        ("mfu_ratio", 0.4712, "47.12%"),
        ("kv_hit_ratio.hbm", 0.0, "0.00%"),
        ("ttft_s.p95", 0.25, "250 ms"),
        ("kv_capacity_tokens", 72832, "72,832"),
        ("goodput_requests_per_s", None, "-"),
        ("feasible", True, "yes"),
        ("bottleneck", "users", "users"),
    ],
)
def test_values_for_a_reader(key: str, value: object, shown: str) -> None:
    assert human(key, value) == shown
