"""The fit of operations that only move activations: amounts are left out by whole decades."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_decades
from ctxsim.cost.curves import Device, elementwise_s
from ctxsim.spec.calibration import Fit


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return elementwise_s(device, fit, *(rows[name].to_numpy(float) for name in ("moved_bytes", "m")))


FORM = Form(
    family="elementwise",
    seconds=_seconds,
    starts=(Start("launch_s", 4e-6, 1e-7, 1e-4), Start("hbm_ratio", 0.5, 0.01, 5.0)),
    ranged=("moved_bytes",),
    splits=by_decades("moved_bytes"),
    left_out="decades of bytes moved",
    grown="moved_bytes",
)
ON_CPU = replace(FORM, starts=(*FORM.starts, Start("lone_launch_s", 4e-6, 1e-7, 1e-4)))
"""One row comes after a product that leaves the caches as they are."""
