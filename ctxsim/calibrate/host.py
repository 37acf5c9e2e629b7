"""The fit of a host's steps: numbers of sequences are left out one by one."""

from __future__ import annotations

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, host_s
from ctxsim.spec.calibration import Fit


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return host_s(fit, rows["sequences"].to_numpy(float))


FORM = Form(
    family="host",
    seconds=_seconds,
    starts=(Start("iteration_s", 3e-4, 2e-6, 1e-1), Start("sequence_s", 1e-5, 1e-8, 1e-2)),
    ranged=("sequences",),
    splits=by_columns("sequences"),
    left_out="numbers of sequences",
    grown="sequences",
)
