"""The fit of matrix products: hidden sizes are left out whole, as rows with n or k of that size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form, Split
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.cost.curves import Device, gemm_s
from ctxsim.cost.curves.gemm import TILES, tile_name
from ctxsim.spec.calibration import Fit

LEAST_SIZE = 512
"""Of n and k: smaller products are launches, and are predicted but not followed."""

_TILE_STARTS = (0.2, 0.5, 0.6, 0.7, 0.8)
_M_KNOTS = (1.0, *(16.0 * count for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 2048)))
_N_KNOTS = tuple(256.0 * count for count in (2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 64, 256))
_K_KNOTS = tuple(512.0 * count for count in (1, 2, 4, 8, 16, 32, 128))


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    dtype = fit.variant.partition("_")[0]
    return gemm_s(device, fit, dtype, **sizes(rows, "m", "n", "k"))


def _weights(device: Device, rows: pd.DataFrame) -> Array:
    large = (rows["n"] >= LEAST_SIZE) & (rows["k"] >= LEAST_SIZE)
    return np.where(large, 1.0, 0.0)


def _hidden_sizes(rows: pd.DataFrame) -> list[Split]:
    sizes = sorted(set(rows.loc[rows["n"] >= LEAST_SIZE, "n"]))
    return [(f"hidden size {size:.0f}", ((rows["n"] == size) | (rows["k"] == size)).to_numpy()) for size in sizes]


FORM = Form(
    family="gemm",
    seconds=_seconds,
    starts=(
        Start("launch_s", 3e-6, 1e-7, 1e-4),
        Start("hbm_ratio", 0.85, 0.3, 1.2),
        Start("sharpness", 3.0, 1.0, 20.0),
        Start("fill_values", 100.0, 1.0, 2000.0),
        *(Start(tile_name(*tile), start, 0.01, 1.2) for tile, start in zip(TILES, _TILE_STARTS, strict=True)),
    ),
    ranged=("m", "n", "k"),
    splits=_hidden_sizes,
    left_out="hidden sizes (all rows with n or k of that size)",
    grown="m",
    weights=_weights,
    axes=(("m", _M_KNOTS), ("n", _N_KNOTS), ("k", _K_KNOTS)),
)
QUANTIZED = replace(
    FORM,
    starts=(
        *(replace(start, value=0.8) if start.name.startswith("tile") else start for start in FORM.starts),
        Start("quantize_ratio", 0.5, 0.01, 2.0),
    ),
)
"""Products in fp8 and int8, with what it takes to bring activations into the format."""
