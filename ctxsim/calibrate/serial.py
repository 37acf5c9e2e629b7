"""The fits of attention that is called sequence by sequence: head geometries are left out whole."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, masked_prefill_s, serial_decode_s
from ctxsim.spec.calibration import Fit


def _decode_s(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    size = sizes(rows, "batch", "context_tokens", "heads", "kv_heads", "head_dim")
    return serial_decode_s(device, fit, fit.variant, **size)


def _prefill_s(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    size = sizes(rows, "batch", "new_tokens", "past_tokens", "heads", "head_dim")
    return masked_prefill_s(device, fit, fit.variant, **size)


def _totals(device: Device, rows: pd.DataFrame) -> dict[str, Array]:
    total = np.maximum(rows["context_tokens"].to_numpy(float), 1.0)
    return {"new_tokens": rows["new_tokens"].to_numpy(float), "total_tokens": total}


DECODE = Form(
    family="serial_decode",
    seconds=_decode_s,
    starts=(
        Start("call_s", 2e-5, 1e-7, 1e-3),
        Start("hbm_ratio", 0.8, 0.05, 5.0),
        Start("flop_ratio", 0.1, 0.002, 1.2),
        Start("vector_ratio", 0.05, 0.0005, 1.2),
    ),
    ranged=("batch", "context_tokens", "kv_heads"),
    splits=by_columns("heads", "kv_heads", "head_dim"),
    left_out="head geometries (all rows of one number and size of heads)",
    grown="context_tokens",
    axes=(
        ("context_tokens", tuple(2.0**power for power in range(7, 18, 2))),
        ("kv_heads", (1.0, 2.0, 4.0, 8.0, 16.0)),
    ),
)
PREFILL = Form(
    family="masked_prefill",
    seconds=_prefill_s,
    starts=(
        Start("call_s", 3e-5, 1e-7, 1e-3),
        Start("flop_ratio", 0.5, 0.01, 1.2),
        Start("mask_ratio", 0.5, 0.01, 20.0),
        Start("score_values", 10.0, 0.1, 500.0),
        Start("lag_tokens", 200.0, 1.0, 4000.0),
    ),
    ranged=("batch", "new_tokens", "context_tokens"),
    splits=by_columns("heads", "kv_heads", "head_dim"),
    left_out="head geometries (all rows of one number and size of heads)",
    grown="context_tokens",
    axes=(
        ("new_tokens", tuple(2.0**power for power in range(6, 14))),
        ("total_tokens", tuple(2.0**power for power in range(6, 18, 2))),
    ),
    grid_quantities=_totals,
)
