"""The fit of prefill attention: head geometries are left out whole; one variant for each head size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, prefill_attention_s
from ctxsim.cost.curves.prefill import TILE_TOKENS, unit_tiles
from ctxsim.spec.calibration import Fit

LEAST_TOKENS = 512
"""Shorter prompts are launches, and help to find that of the form alone."""

_SHORT_WEIGHT = 0.1
_SIZES = ("batch", "new_tokens", "past_tokens", "heads", "kv_heads", "head_dim")


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    window = np.where(rows["window_tokens"] > 0, rows["window_tokens"], np.inf)
    return prefill_attention_s(device, fit, **sizes(rows, *_SIZES), window_tokens=window, dtype="bf16")


def _weights(device: Device, rows: pd.DataFrame) -> Array:
    return np.where(rows["new_tokens"] >= LEAST_TOKENS, 1.0, _SHORT_WEIGHT)


def _grid_quantities(device: Device, rows: pd.DataFrame) -> dict[str, Array]:
    size = sizes(rows, *_SIZES)
    tiles = unit_tiles(device, size["batch"], size["new_tokens"], size["heads"])
    window = np.where(rows["window_tokens"] > 0, rows["window_tokens"], np.inf)
    longest = np.minimum(size["past_tokens"] + size["new_tokens"], window + TILE_TOKENS)
    return {"unit_tiles": np.asarray(tiles), "longest_tokens": longest}


FORM = Form(
    family="prefill_attention",
    seconds=_seconds,
    starts=(
        Start("launch_s", 8e-6, 1e-7, 1e-4),
        Start("flop_ratio", 0.65, 0.05, 1.2),
        Start("lag_tokens", 32.0, 0.1, 1000.0),
        Start("tail_ratio", 0.5, 0.01, 10.0),
        Start("slowdown_ratio", 0.15, 0.001, 1.0),
        Start("slowdown_s", 3e-3, 2e-6, 1.0),
        Start("token_s", 1e-10, 1e-13, 1e-7),
        Start("query_ratio", 0.5, 0.01, 100.0),
        Start("kv_ratio", 0.5, 0.01, 100.0),
    ),
    ranged=("batch", "new_tokens", "context_tokens"),
    splits=by_columns("heads", "kv_heads", "head_dim"),
    left_out="head geometries (all rows of one number of heads and KV heads)",
    grown="new_tokens",
    weights=_weights,
    axes=(
        ("unit_tiles", tuple(2.0**power for power in range(-5, 11))),
        ("longest_tokens", tuple(2.0**power for power in (9, 10, 11, 12, 14))),
    ),
    grid_quantities=_grid_quantities,
)
