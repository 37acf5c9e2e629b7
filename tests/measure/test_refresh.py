"""The machine as it is now beside its own measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.cost import CostModel  # noqa: E402
from ctxsim.errors import SpecError  # noqa: E402
from ctxsim.measure import check, refresh, sustained  # noqa: E402
from ctxsim.measure.devices import device_of  # noqa: E402
from ctxsim.measure.passes import SEQUENCES, Passes  # noqa: E402
from ctxsim.measure.points import Point  # noqa: E402
from ctxsim.measure.refresh import POINTS, Speeds, point_of, speeds  # noqa: E402
from ctxsim.measure.rows import row  # noqa: E402
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

    def under_load(scenario: Scenario, device: object) -> float:
        loads.append(scenario)
        return 1.25

    loads: list[Scenario] = []
    monkeypatch.setattr(refresh, "timed", slower)
    monkeypatch.setattr(refresh, "sustained_ratio", under_load)
    speed = speeds(FILE, device_of("cpu"), load_scenario("cpu-small"))
    assert speed.sustained == 1.25
    assert str(speed).endswith("; passes under load 1.25")
    (load,) = loads
    (scale,) = {fit.scale for fit in load.calibration.fits if fit.family == "packed_gemm"}
    assert scale == pytest.approx(1.5)
    found = speed.ratios
    assert found["packed_gemm"] == pytest.approx(1.5)
    assert {name for name, ratio in found.items() if ratio == pytest.approx(1.0)} == set(found) - {"packed_gemm"}
    assert set(found) >= {"packed_gemm", "serial_decode", "masked_prefill", "copy", "elementwise"}
    assert {point.dtype for point in asked} == {"fp32", ""}
    assert sum(point.family == "gemm" for point in asked) == POINTS
    assert sum(point.family == "copy" for point in asked) == 2 * POINTS, "alone and beside passes"


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


def test_a_scenario_is_asked_of_the_machine_as_it_is() -> None:
    scenario = load_scenario("cpu-small")
    changed = Speeds({"packed_gemm": 2.0}).of(scenario)
    assert changed.calibration is not None
    assert {fit.scale for fit in changed.calibration.fits if fit.family == "packed_gemm"} == {2.0}
    assert {fit.scale for fit in changed.calibration.fits if fit.family != "packed_gemm"} == {1.0}
    loaded = Speeds({"packed_gemm": 2.0, "host": 0.5}, sustained=1.5).of(scenario)
    assert loaded.calibration is not None
    assert {fit.scale for fit in loaded.calibration.fits if fit.family == "packed_gemm"} == {3.0}
    assert {fit.scale for fit in loaded.calibration.fits if fit.family == "host"} == {0.75}
    with pytest.raises(SpecError, match="expected fidelity calibrated"):
        Speeds({"packed_gemm": 2.0}).of(replace(scenario, fidelity="peak", calibration=None))


def test_a_load_is_judged_by_its_end_and_by_what_the_calibration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as predicted at first; decode half as long again, and chunks a tenth, from 9.5 s on, by the clock."""
    scenario = load_scenario("cpu-small")
    spec = Passes(device_of("cpu")).spec
    cost = CostModel(replace(scenario, model=spec))
    clock = [0.0]
    asked: list[int] = []

    def one(self: Passes) -> int:
        asked.append(SEQUENCES[len(asked) % len(SEQUENCES)])
        slow = 1.5 if clock[0] >= 9.5 else 1.0
        clock[0] += slow * cost.pass_s(cost.batch(1, 255, sequences=asked[-1]))
        return asked[-1]

    def chunk(self: Passes) -> None:
        clock[0] += (1.1 if clock[0] >= 9.5 else 1.0) * cost.pass_s(cost.batch(512, 0))

    monkeypatch.setattr(Passes, "chunk", chunk)
    monkeypatch.setattr(Passes, "one", one)
    monkeypatch.setattr(sustained.time, "perf_counter", lambda: clock[0])
    assert sustained.sustained_ratio(scenario, device_of("cpu")) == pytest.approx((1.5 + 1.1) / 2)
    assert 16.0 <= clock[0] < 16.5
    assert set(asked) == {1, 2, 4, 8}
