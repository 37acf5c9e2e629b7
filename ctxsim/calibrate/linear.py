"""The fit of linear attention: numbers of heads are left out whole."""

from __future__ import annotations

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, linear_attention_s
from ctxsim.spec.calibration import Fit

_SIZES = ("batch", "new_tokens", "key_dim", "value_dim")


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return linear_attention_s(
        device,
        fit,
        **sizes(rows, *_SIZES),
        key_heads=rows["kv_heads"].to_numpy(float),
        value_heads=rows["heads"].to_numpy(float),
    )


FORM = Form(
    family="linear_attention",
    seconds=_seconds,
    starts=(
        Start("launch_s", 5e-6, 1e-7, 1e-4),
        Start("unit_ratio", 0.1, 1e-4, 1.2),
        Start("hbm_ratio", 0.5, 0.01, 2.0),
    ),
    ranged=("batch", "new_tokens"),
    splits=by_columns("heads"),
    left_out="numbers of value heads",
    grown="batch",
)
