"""The page of checks: which run, what is left out and why, and what kernels' and servers' frames say of targets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("scipy")

from ctxsim.errors import SpecError
from ctxsim.validate import report
from ctxsim.validate.kernels import kernel_sections
from ctxsim.validate.page import Section
from ctxsim.validate.report import CHECKS, Check, sections, write_pages
from ctxsim.validate.servers import dense_sections
from ctxsim.validate.silicon import predict_silicon
from ctxsim.validate.targets import at_most
from ctxsim.validate.workers import Spread, spreading


def made_up(folder: Path, spread: Spread) -> list[Section]:
    """A section with one target that is met and one that is not."""
    numbers = spread(float, ["0.05", "0.07"])
    return [Section(f"Of {folder.name}", "Words.", None, tuple(at_most("error", n, 0.06) for n in numbers))]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        report,
        "CHECKS",
        (Check("one", ("data/one",), made_up), Check("two", ("measurements/two.parquet",), made_up)),
    )


@pytest.mark.usefixtures("checks")
def test_checks_without_what_they_need_are_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    found = sections({"data": tmp_path, "measurements": tmp_path})
    assert [section.title for section in found] == ["Targets", "How to read the tables", "Of one", "Left out"]
    assert found[-1].words == "two: expected measurements/two.parquet, found none."
    assert "1 of 2 are met" in found[0].words
    assert found[0].table is not None
    assert list(found[0].table["met"]) == [True, False]
    nothing = sections({"data": None, "measurements": tmp_path}, ["one"])
    assert nothing[-1].words == "one: expected data/one, found no folder of data."


@pytest.mark.usefixtures("checks")
def test_some_checks_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    found = sections({"data": tmp_path, "measurements": None}, ["one"])
    assert [section.title for section in found] == ["Targets", "How to read the tables", "Of one"]
    with pytest.raises(SpecError, match='expected one of one, two, found tow; did you mean "two"'):
        sections({"data": tmp_path}, ["tow"])


@pytest.mark.usefixtures("checks")
def test_the_page_is_the_same_whatever_the_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    pages = [
        write_pages(sections({"data": tmp_path, "measurements": None}, (), workers), tmp_path / str(workers))
        for workers in (1, 2)
    ]
    assert [page.read_bytes() for page in pages[0]] == [page.read_bytes() for page in pages[1]]


def test_work_comes_back_in_its_order_from_processes_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with spreading(2) as spread:
        assert spread(abs, [-3, 1, -2]) == [3, 1, 2]
        assert spread(os.getenv, ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_checks_have_names_of_their_own_and_say_what_they_need() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.needs
        assert all(need.partition("/")[0] in ("data", "measurements") for need in check.needs)


def kernels(**columns: object) -> pd.DataFrame:
    """Two predictions, 4 and 2 % too long, with a band of 5 %."""
    base = {
        "family": "decode_attention", "variant": "bf16-128", "split": "heads 8", "context_tokens": 5000.0,
        "window_tokens": 0.0, "measured_s": 1.0, "band_ratio": 0.05, "in_range": True, "predicted_s": [1.04, 1.02],
    }  # fmt: skip
    return pd.DataFrame(base | columns, index=[0, 1])


def test_kernels_are_tabled_by_shape_by_decade_and_beyond() -> None:
    longest = kernels(split="longest decade of context_tokens", predicted_s=[1.04, 1.06], context_tokens=50_000.0)
    windows = kernels(family="prefill_attention", window_tokens=128.0, predicted_s=3.0)
    frame = pd.concat([kernels(), longest, windows], ignore_index=True)
    shapes, attention, beyond = kernel_sections("a100-80gb-sxm-vllm", frame)
    assert [(target.found, target.met) for target in shapes.targets] == [("3.0 %", True)]  # windows have no target
    assert [(t.found, t.met) for t in beyond.targets] == [("5.0 %", True), ("50.0 %", False), ("1.00 x", True)]
    assert attention.table is not None
    assert list(attention.table["context"]) == ["1K to 10K", "1K to 10K"]


def test_servers_have_bands_and_a_target_for_the_time_of_a_token() -> None:
    row = pd.Series(
        {
            "model": "llama-3.1-8b", "backend": "vllm", "isl": 1024, "osl": 128, "batch_size": 4, "dense": True,
            "tp_size": 1.0, "gemm_quant_mode": "fp8", "silicon_ttft_ms": 40.0, "silicon_tpot_ms": 5.0,
        }
    )  # fmt: skip
    found = pd.DataFrame(predict_silicon(row, "h200-sxm", "fp8"))
    assert list(found["latency"]) == ["ttft", "tpot"]
    assert found["band_ratio"].between(0.005, 0.5).all()
    dense, occupied, by_ranks = dense_sections(found)
    every, able = dense.targets
    error = abs(found["predicted_s"][1] / found["measured_s"][1] - 1)
    assert every.met == (error <= 0.15)
    assert every.met == able.met
    assert occupied.table is not None
    assert list(occupied.table["impossible_rows"]) == [0]
    assert by_ranks.table is not None
    assert list(by_ranks.table["tp_size"]) == [1, 1]
    assert np.isfinite(by_ranks.table["covered_ratio"]).all()
