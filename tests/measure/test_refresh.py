"""The machine as it is now beside its own measurements."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.cost import CostModel  # noqa: E402
from ctxsim.errors import SpecError  # noqa: E402
from ctxsim.measure import check, refresh, sustained  # noqa: E402
from ctxsim.measure.devices import device_of  # noqa: E402
from ctxsim.measure.points import Point  # noqa: E402
from ctxsim.measure.refresh import POINTS, Speeds, point_of, speeds  # noqa: E402
from ctxsim.measure.rows import row  # noqa: E402
from ctxsim.measure.sustained import Load  # noqa: E402
from ctxsim.measure.timing import Timing  # noqa: E402
from ctxsim.records.measured import read  # noqa: E402
from ctxsim.spec.scenario import Scenario, load_scenario  # noqa: E402

FILE = Path(__file__).parents[2] / "measurements" / "cpu-2core-zen5.parquet"


def test_a_row_says_which_point_it_is_of() -> None:
    point = Point("copy", moved_bytes=2**22, block_bytes=2**20, descriptors=4, direction="device", beside="gemm")
    assert point_of(row(point, 1e-3, 1e-5, 9)) == point
    rows, _ = read(FILE)
    last = {str(name): value for name, value in rows.iloc[-1].items()}
    assert isinstance(point_of(last), Point)


def test_speeds_are_medians_of_what_is_timed_again_over_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products half as fast again, everything else as it was; only points of the format, at most so many."""
    rows, _ = read(FILE)
    was = {point_of({str(k): v for k, v in one.items()}): one["seconds"] for one in rows.to_dict("records")}
    asked: list[Point] = []

    def slower(point: Point, device: object, limit_s: float) -> Timing:
        asked.append(point)
        return Timing(was[point] * (1.5 if point.family == "gemm" else 1.0), 0.0, 9)

    def under_load(scenario: Scenario, device: object) -> Load:
        loads.append(scenario)
        return Load(1.25, 1.1, 1.2)

    loads: list[Scenario] = []
    monkeypatch.setattr(refresh, "timed", slower)
    monkeypatch.setattr(refresh, "load_of", under_load)
    speed = speeds(FILE, device_of("cpu"), load_scenario("cpu-small"))
    assert speed.load == Load(1.25, 1.1, 1.2)
    assert str(speed).endswith("; under load, decode 1.25, chunks of prompts 1.10 and copies 1.20")
    (load,) = loads
    (scale,) = {fit.scale for fit in load.calibration.fits if fit.family == "packed_gemm"}
    assert scale == pytest.approx(1.5)
    found = speed.ratios
    assert found["packed_gemm"] == pytest.approx(1.5)
    assert {name for name, ratio in found.items() if ratio == pytest.approx(1.0)} == set(found) - {"packed_gemm"}
    assert set(found) >= {"packed_gemm", "serial_decode", "masked_prefill", "elementwise"}
    assert "copy" not in found
    assert {point.dtype for point in asked} == {"fp32", ""}
    assert sum(point.family == "gemm" for point in asked) == POINTS


def test_what_is_predicted_is_the_machine_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Timed before the prediction, which is what is written."""
    asked = []

    def predict(scenario: Scenario, folder: Path) -> None:
        asked.append(scenario)
        raise SpecError

    monkeypatch.setattr(check, "speeds", lambda *given: Speeds({"packed_gemm": 2.0}))
    monkeypatch.setattr(check, "predict", predict)
    with pytest.raises(SpecError):
        check.check_engine(load_scenario("cpu-small"), "cpu", tmp_path, "a test", FILE)
    (scenario,) = asked
    assert {fit.scale for fit in scenario.calibration.fits if fit.family == "packed_gemm"} == {2.0}


def test_the_machine_is_compared_with_the_calibration_before_and_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not with what it was scaled to: the scale would count twice."""
    asked: list[Scenario] = []

    def read_speeds(path: Path, device: object, scenario: Scenario) -> Speeds:
        asked.append(scenario)
        return Speeds({"packed_gemm": 2.0})

    monkeypatch.setattr(check, "speeds", read_speeds)
    tiny = {"workload.users": 1, "workload.num_sessions": 1, "workload.rounds": 1, "workload.document_tokens": 32}
    tiny |= {"workload.answer_tokens": 2, "workload.question_tokens": 8, "serving.num_gpu_blocks_override": 520}
    check.check_engine(load_scenario("cpu-small", tiny), "cpu", tmp_path, "a test", FILE)
    before, after = asked
    assert before.calibration == after.calibration


def test_a_scenario_is_asked_of_the_machine_as_it_is() -> None:
    scenario = load_scenario("cpu-small")
    changed = Speeds({"packed_gemm": 2.0}).of(scenario)
    assert changed.calibration is not None
    assert {fit.scale for fit in changed.calibration.fits if fit.family == "packed_gemm"} == {2.0}
    assert {fit.scale for fit in changed.calibration.fits if fit.family != "packed_gemm"} == {1.0}
    with pytest.raises(SpecError, match="expected fidelity calibrated"):
        Speeds({"packed_gemm": 2.0}).of(replace(scenario, fidelity="peak", calibration=None))


def test_a_load_slows_what_decodes_and_what_fills_apart() -> None:
    """Few rows as decoding does and many as chunks do."""
    names = ("packed_gemm", "elementwise", "serial_decode", "masked_prefill", "host")
    found = Speeds(dict.fromkeys(names, 2.0), Load(1.5, 1.0, 1.2)).of(load_scenario("cpu-small")).calibration
    assert found is not None
    scales = {fit.family: (fit.scale_of(8), fit.scale_of(512)) for fit in found.fits if fit.family in names}
    few_many = dict.fromkeys(names[:2], (3.0, 2.0))
    assert scales == few_many | {
        "serial_decode": (3.0, 3.0), "masked_prefill": (2.0, 2.0), "host": (3.0, 3.0),
    }  # fmt: skip
    assert {fit.scale for fit in found.fits if fit.family == "copy"} == {1.2}


def test_a_load_is_judged_by_its_end_and_by_what_the_calibration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as predicted at first; from 45 s on, by the clock, chunks take a tenth more, copies two and four times as
    long, and each sequence makes decoding a tenth slower; half the time two decode, and half the time four."""
    scenario = load_scenario("cpu-small")
    cost = CostModel(scenario)
    clock, asked = [0.0], [("", 0, 0)]
    policies: set[int | None] = set()

    def take(kind: tuple[str, int, int], slow: float, predicted_s: float) -> None:
        first = asked[-1] != kind
        asked.append(kind)
        clock[0] += predicted_s * (10.0 if first else slow if clock[0] >= 45.0 else 1.0)

    class Fake:
        def __init__(self, *given: object) -> None:
            assert given == (scenario.model, device_of("cpu"), "fp32", 2048)

        def decode(self, sequences: int, context: int) -> None:
            predicted_s = cost.pass_s(cost.batch(1, context - 1, sequences=sequences))
            take(("decode", sequences, context), 1 + sequences / 10, predicted_s)

        def chunk(self, past: int) -> None:
            take(("chunk", 512, past), 1.1, cost.pass_s(cost.batch(512, past)))

    def beside(one: Callable[[], None]) -> list[float]:
        policies.add(os.sched_getscheduler(0) if hasattr(os, "SCHED_IDLE") else None)
        one()
        return [2.0, 4.0] if clock[0] >= 45.0 else [1.0, 1.0]

    monkeypatch.setattr(sustained, "Passes", Fake)
    monkeypatch.setattr(sustained, "_copies", lambda *given: beside)
    monkeypatch.setattr(sustained, "decoding_shares", lambda *given: [0.0, 0.5, 0.0, 0.5, 0.0])
    monkeypatch.setattr(sustained.time, "perf_counter", lambda: clock[0])
    assert sustained.load_of(scenario, device_of("cpu")) == pytest.approx((1.3, 1.1, 3.0))
    assert clock[0] >= 75.0
    assert policies == {getattr(os, "SCHED_IDLE", None)}, "copies go before passes, as in an engine"
    assert {sequences for kind, sequences, _ in asked if kind == "decode"} == {1, 2, 3, 4, 8}
    assert {past for kind, _, past in asked if kind == "chunk"} == {0, 1536}


def test_the_first_of_passes_alike_is_not_counted_and_long_ones_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 10, 1, 2 and 3 times 30 s the median of the last three counts (with the first it would be 2.5)."""
    clock, turns = [0.0], cycle((10.0, 1.0, 2.0, 3.0))
    slow = sustained._Kind(True, lambda: clock.__setitem__(0, clock[0] + 30.0 * next(turns)), 15.0)
    monkeypatch.setattr(sustained, "_kinds", lambda *given: [slow, slow._replace(decodes=False, expected_s=30.0)])
    monkeypatch.setattr(sustained, "Passes", lambda *given: None)
    monkeypatch.setattr(sustained, "_copies", lambda *given: lambda one: one() or [])
    monkeypatch.setattr(sustained.time, "perf_counter", lambda: clock[0])
    assert sustained.load_of(load_scenario("cpu-small"), device_of("cpu")) == pytest.approx((4.0, 2.0, 1.0))
