"""Which calibration a scenario has: the profile's, the one it names, one of its architecture as a guess, or none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ctxsim.analysis import analyze
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import calibration_text, load_calibration, read_calibration
from ctxsim.spec.catalog import names
from ctxsim.spec.scenario import load_scenario

CALIBRATED = {"fidelity": "calibrated"}


def test_a_profile_s_own_calibration_is_the_default() -> None:
    scenario = load_scenario("yi-34b-50k-a100", CALIBRATED)
    assert scenario.calibration_name == "a100-80gb-sxm-vllm"
    assert load_scenario("yi-34b-50k-a100").calibration is None


def test_another_one_can_be_named_and_gives_other_times() -> None:
    own = load_scenario("yi-34b-50k-a100", CALIBRATED)
    other = load_scenario("yi-34b-50k-a100", CALIBRATED | {"calibration": "a100-80gb-sxm-vidur"})
    assert own.sha256 != other.sha256
    assert analyze(own).keys["prefill_s"] != analyze(other).keys["prefill_s"]


def test_a_written_scenario_is_read_again_as_the_same(tmp_path: Path) -> None:
    scenario = load_scenario("yi-34b-50k-a100", CALIBRATED | {"calibration": "a100-80gb-sxm-vidur"})
    path = tmp_path / "s.yaml"
    path.write_text(scenario.to_yaml(), encoding="utf-8")
    assert load_scenario(path) == scenario


def test_a_device_of_the_same_architecture_is_a_guess_and_says_so() -> None:
    scenario = load_scenario("llama-8b-chat", CALIBRATED | {"hardware": "h100-80gb-sxm"})
    assert scenario.calibration_name == "h200-sxm-vllm"
    assert [warning for warning in scenario.warnings if "was never measured" in warning]
    own = load_scenario("llama-8b-chat", CALIBRATED | {"hardware": "h200-sxm"})
    (lent,) = (warning for warning in own.warnings if "small kernels" in warning)
    assert "h200-sxm-vllm has no times of its own" in lent
    assert "those of rtx-pro-6000-vllm" in lent
    widths = [analyze(s).keys["intervals"]["decode_step_s"] for s in (own, scenario)]
    assert widths[1][1] / widths[1][0] > widths[0][1] / widths[0][0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (CALIBRATED | {"hardware": "l40s"}, "fidelity: expected peak (l40s has no calibration)"),
        ({"calibration": "a100-80gb-sxm-vllm"}, "calibration: expected none at fidelity peak"),
        (CALIBRATED | {"calibration": "h200-sxm-vllm"}, "of its architecture (Ampere), found h200-sxm-vllm"),
        (CALIBRATED | {"calibration": "h200-sxm-vlm"}, 'did you mean "h200-sxm-vllm"'),
    ],
)
def test_what_does_not_fit_is_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_scenario("llama-8b-chat", overrides)
    assert message in str(refused.value)


NEEDED = {
    "cpu-2core-zen5": {"packed_gemm", "masked_prefill", "serial_decode", "elementwise", "copy", "host"},
    "rtx-pro-6000-vllm": {"gemm", "decode_attention", "prefill_attention", "mixed_attention", "elementwise"},
}
"""Families of single devices, which reduce over no link."""


WIDE = {
    ("cpu-2core-zen5", "elementwise", "kv_store"): 1.1,
    ("cpu-2core-zen5", "elementwise", "kv_store-fp32"): 1.5,
}
"""Fits that are off by their own time: copies of 32 MiB and more are written to memory that the system hands out
afresh, which took four times as long a byte (20 GB/s up to 16 MiB, 6 from 32 on); without that decade nothing says so.
One row in ten is of them, and whether that is just more or just less decides what nine in ten do not exceed."""


@pytest.mark.parametrize("name", names("calibration"))
def test_shipped_calibrations_are_whole(name: str) -> None:
    """Every coefficient cites a source of the file; errors are positive; what is written is read again."""
    file = read_calibration(name)
    assert file.name == name
    assert file.hardware in names("hardware")
    assert {fit.family for fit in file.fits} >= NEEDED.get(name, {"gemm", "all_reduce"})
    for fit in file.fits:
        assert fit.rows > 0
        assert 0 < fit.spread_ratio < WIDE.get((name, fit.family, fit.variant), 1)
        assert all(later.least < first.least for first, later in pairwise(fit.size_spreads))
        assert all(c.error is None or c.error >= 0 for c in fit.coefficients.values())
    assert calibration_text(file) == calibration_text(read_calibration(name))
    assert load_calibration(name).variants("packed_gemm" if name.startswith("cpu") else "gemm")


def test_a_broken_file_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    for text, message in (
        ("{", "expected JSON"),
        ("[]", "expected a mapping"),
        ('{"schema": "ctxsim.calibration/1"}', "name"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SpecError, match=message):
            read_calibration(str(path))
    with pytest.raises(SpecError, match="expected a calibration"):
        read_calibration(str(tmp_path / "none.json"))
