"""The fit of routed experts: models, by hidden size and number of experts, are left out whole."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, experts_s
from ctxsim.cost.curves.experts import EXPERT_FORMATS
from ctxsim.spec.calibration import Fit

_SIZES = ("tokens", "hidden", "intermediate", "top_k", "experts", "local_experts")


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    dtype, weight_bytes = EXPERT_FORMATS[fit.variant]
    return experts_s(device, fit, dtype, **sizes(rows, *_SIZES), weight_bytes_per_value=weight_bytes)


FORM = Form(
    family="experts",
    seconds=_seconds,
    starts=(
        Start("launch_s", 2e-5, 2e-6, 2e-3),
        Start("expert_s", 1e-7, 1e-10, 1e-4),
        Start("padding_rows", 32.0, 0.1, 1000.0),
        Start("flop_ratio", 0.5, 0.01, 1.2),
        Start("hbm_ratio", 0.6, 0.01, 1.2),
        Start("activation_ratio", 0.5, 0.01, 2.0),
        Start("sharpness", 3.0, 1.0, 20.0),
    ),
    ranged=("tokens", "hidden", "experts", "top_k"),
    splits=by_columns("hidden", "experts"),
    left_out="models (all rows of one hidden size and number of experts)",
    grown="tokens",
    axes=(("tokens", tuple(2.0**power for power in range(0, 17, 2))),),
)
FOUR_BIT = replace(
    FORM,
    splits=by_columns("intermediate"),
    left_out="cuts of one model (all rows of one width of its experts)",
)
"""Four-bit weights were measured of one model or two, so that only cuts of them can be left out."""
