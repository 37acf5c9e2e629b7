"""The fit of operations that only move activations: amounts are left out by whole decades."""

from __future__ import annotations

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_decades
from ctxsim.cost.curves import Device, elementwise_s
from ctxsim.spec.calibration import Fit


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return elementwise_s(device, fit, rows["moved_bytes"].to_numpy(float))


FORM = Form(
    family="elementwise",
    seconds=_seconds,
    starts=(Start("launch_s", 4e-6, 1e-7, 1e-4), Start("hbm_ratio", 0.5, 0.01, 5.0)),
    ranged=("moved_bytes",),
    splits=by_decades("moved_bytes"),
    left_out="decades of bytes moved",
    grown="moved_bytes",
)
