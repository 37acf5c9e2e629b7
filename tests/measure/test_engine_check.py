"""The loop closed on the machine at hand: measured, calibrated, predicted, then served; needs torch and scipy.

Margins are wide: machines that run tests are shared. What they must catch is a cost that is forgotten or counted twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason='needs the extra "measure"')
pytest.importorskip("scipy", reason='needs the extra "fit"')

from ctxsim.calibrate.assemble import fit_plan
from ctxsim.calibrate.own import OwnFile, own_plan
from ctxsim.calibrate.profile import profile_text
from ctxsim.measure import measure, read
from ctxsim.measure.check import check_engine
from ctxsim.sim import simulate
from ctxsim.spec.calibration import calibration_text
from ctxsim.spec.scenario import Scenario, load_scenario

BUDGET_S = 90.0
MARGIN = 0.35
SWAP_MARGIN = 0.6
"""A copy takes milliseconds: one slice of the scheduler that another process has is as long."""

NEEDED = {"packed_gemm", "serial_decode", "masked_prefill", "copy", "host", "elementwise"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of this machine in fp32, and a profile that names it."""
    folder = tmp_path_factory.mktemp("loop")
    families = ("gemm", "prefill_attention", "decode_attention", "copy", "elementwise", "host")
    measure("cpu", BUDGET_S, families, path=folder / "m.parquet", dtypes=("fp32", "bf16"), keep_disturbed=True)
    files = [OwnFile("m.parquet", *read(folder / "m.parquet"))]
    profile = folder / "here.yaml"
    profile.write_text(profile_text("here", "vm-2core-zen5", str(folder / "here.json"), files))
    plan, too_few = own_plan(str(profile), files)
    file = fit_plan(plan, Path(), "here", "a test")
    assert {fit.family for fit in file.fits if fit.variant != "bf16"} >= NEEDED, too_few
    (folder / "here.json").write_text(calibration_text(file))
    return folder


def scenario(folder: Path, **overrides: object) -> Scenario:
    asked = {
        "hardware": str(folder / "here.yaml"), "workload.users": 3, "workload.num_sessions": 3, "workload.rounds": 3,
        "workload.document_tokens": 1500, "workload.answer_tokens": 30, "serving.num_gpu_blocks_override": 260,
    }  # fmt: skip
    return load_scenario("cpu-small", asked | overrides)


def test_what_is_predicted_is_what_the_engine_then_takes(folder: Path) -> None:
    out = folder / "report"
    table, report = check_engine(scenario(folder), "cpu", out, "a test")
    rows = table.set_index("quantity")
    assert set(rows.index) == {"ttft_s", "tpot_s", "e2e_s", "swap_in_s", "swap_out_s"}
    assert rows.loc["ttft_s", "count"] == rows.loc["ttft_s", "count_predicted"] == 9
    for name, margin in (("ttft_s", MARGIN), ("tpot_s", MARGIN), ("e2e_s", MARGIN), ("swap_in_s", SWAP_MARGIN)):
        assert abs(rows.loc[name, "mean_error_ratio"]) < margin, table.to_string()
    assert [path.name for path in report] == ["engine.md", "engine.html", "engine.json"]
    said = json.loads((out / "engine.json").read_text())
    assert said["quantities"][0]["quantity"] == "ttft_s"
    written = [(out / run / "requests.parquet").stat().st_mtime for run in ("predicted", "served")]
    assert written[0] < written[1]


def test_a_cost_that_is_forgotten_is_noticed(folder: Path) -> None:
    """Products at half their time are outside the margin: TPOT of a small model is products."""
    asked = scenario(folder)
    assert asked.calibration is not None
    fast = replace(asked, calibration=asked.calibration.scaled("packed_gemm", 0.5))
    whole, half = (simulate(s).summary["tpot_s"]["mean"] for s in (asked, fast))
    assert half / whole - 1 < -MARGIN
