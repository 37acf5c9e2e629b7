"""The fit of decode in the kernel of a prefill: numbers of sequences are left out one by one.

What is measured is the whole kernel; what the form says is added to the chunk's own time, measured beside it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, mixed_attention_s
from ctxsim.spec.calibration import Fit

_SIZES = ("batch", "context_tokens", "heads", "kv_heads", "head_dim")


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    added_s = mixed_attention_s(device, fit, chunk_tokens=rows["tokens"].to_numpy(float), **sizes(rows, *_SIZES))
    return np.asarray(rows["beside_s"].to_numpy(float) + added_s)


def _grid_quantities(device: Device, rows: pd.DataFrame) -> dict[str, Array]:
    size = sizes(rows, "batch", "context_tokens", "heads", "tokens")
    return {
        "context_tokens": size["context_tokens"],
        "tiles": size["batch"] * size["heads"],
        "chunk_tokens": size["tokens"],
    }


FORM = Form(
    family="mixed_attention",
    seconds=_seconds,
    starts=(
        Start("tile_s", 2e-6, 1e-8, 1e-4),
        Start("empty_s", 3e-7, 1e-9, 1e-5),
        Start("tail_ratio", 0.5, 0.01, 2.0),
        Start("flop_ratio", 0.6, 0.05, 1.2),
        Start("hbm_ratio", 0.8, 0.2, 1.2),
        Start("cache_ratio", 1.0, 0.1, 10.0),
        Start("sharpness", 3.0, 1.0, 20.0),
    ),
    ranged=("batch", "context_tokens"),
    splits=by_columns("batch"),
    left_out="numbers of decoding sequences",
    grown="context_tokens",
    axes=(
        ("context_tokens", tuple(2.0**power for power in range(4, 15))),
        ("tiles", tuple(2.0**power for power in range(5, 13))),
        ("chunk_tokens", tuple(2.0**power for power in (4, 6, 8, 10, 11))),
    ),
    grid_quantities=_grid_quantities,
)
