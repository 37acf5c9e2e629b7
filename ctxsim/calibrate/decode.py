"""The fit of decode attention: head geometries are left out whole; one variant for each head size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form, every_row
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, decode_attention_s
from ctxsim.cost.curves.decode import working_set_bytes
from ctxsim.spec.calibration import Fit

LARGE = 8.0
"""From so many times the on-chip cache on, keys and values come from HBM whatever was read before."""

_PARTLY = 2.0  # from so many times the cache on, some of them do, and more than while other layers run
_LAUNCH = 0.05  # of the cache: so little that the time is that of the launch
_PARTLY_WEIGHT = 0.1
_LAUNCH_WEIGHT = 0.03  # there are many of them, and they are hardly served
_SIZES = ("batch", "context_tokens", "heads", "kv_heads", "head_dim")


def set_ratio(device: Device, rows: pd.DataFrame) -> Array:
    """Keys and values read, as a multiple of the on-chip cache."""
    read = sizes(rows, "batch", "context_tokens", "kv_heads", "head_dim")
    return np.asarray(working_set_bytes(**read, kv_bytes_per_value=kv_bytes(rows)) / device.on_chip_cache_bytes)


def kv_bytes(rows: pd.DataFrame) -> Array:
    """Bytes of a key or value."""
    return np.where(rows["kv_dtype"] == "fp8", 1.0, 2.0)


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return decode_attention_s(device, fit, **sizes(rows, *_SIZES), kv_bytes_per_value=kv_bytes(rows))


def _weights(device: Device, rows: pd.DataFrame) -> Array:
    """Rows between stay in the on-chip cache while they are repeated, and would not while other layers run."""
    ratio = set_ratio(device, rows)
    few = (rows["batch"] * rows["kv_heads"]).to_numpy() <= device.compute_units
    return np.select(
        [ratio > LARGE, ratio > _PARTLY, (ratio < _LAUNCH) & few], [1.0, _PARTLY_WEIGHT, _LAUNCH_WEIGHT], 0.0
    )


def _grid_quantities(device: Device, rows: pd.DataFrame) -> dict[str, Array]:
    size = sizes(rows, *_SIZES)
    streams, group = size["batch"] * size["kv_heads"], size["heads"] / size["kv_heads"]
    return {"context_tokens": size["context_tokens"], "streams": streams, "group": group}


FORM = Form(
    family="decode_attention",
    seconds=_seconds,
    starts=(
        Start("least_tokens", 128.0, 1.0, 300.0),
        Start("launch_s", 5e-6, 1e-7, 1e-4),
        Start("ramp_s", 5e-6, 1e-8, 1e-4),
        Start("ramp_ratio", 0.1, 0.01, 2.0),
        Start("hbm_ratio", 0.8, 0.2, 1.2),
        Start("unit_ratio", 25.0, 0.1, 200.0),
        Start("query_ratio", 0.5, 0.01, 20.0),
        Start("kv_head_s", 2e-9, 2e-12, 2e-6),
    ),
    ranged=("batch", "context_tokens"),
    splits=by_columns("heads", "kv_heads", "head_dim"),
    left_out="head geometries (all rows of one number of heads and KV heads)",
    grown="context_tokens",
    weights=_weights,
    axes=(
        ("context_tokens", tuple(2.0**power for power in range(7, 18, 2))),
        ("streams", tuple(2.0**power for power in range(13))),
        ("group", (1.0, 2.0, 8.0)),
    ),
    grid_quantities=_grid_quantities,
    smoothness=1.0,
)

WINDOWED_FORM = replace(FORM, weights=every_row, grown="batch")
"""Of sliding windows that are full: contexts are the few windows that models have, and most sets so small that
launching is most of their time, wherever keys and values come from."""
