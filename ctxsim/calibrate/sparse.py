"""The fit of sparse attention: numbers of heads are left out whole, of both models that were measured."""

from __future__ import annotations

import pandas as pd

from ctxsim.calibrate.decode import kv_bytes
from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.latent import MODULE_STARTS, weight_dtype
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, sparse_attention_s
from ctxsim.spec.calibration import Fit

_SIZES = (
    "batch", "new_tokens", "past_tokens", "heads", "top_k", "latent_dim", "rope_dim", "index_heads", "index_dim",
    "projection_weights",
)  # fmt: skip


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    size = sizes(rows, *_SIZES)
    return sparse_attention_s(device, fit, **size, kv_bytes_per_value=kv_bytes(rows), weight_dtype=weight_dtype(fit))


FORM = Form(
    family="sparse_attention",
    seconds=_seconds,
    starts=(
        *MODULE_STARTS,
        Start("index_ratio", 0.3, 0.001, 4.0),
        Start("index_hbm_ratio", 0.8, 0.01, 1.2),
        Start("gather_ratio", 0.5, 0.01, 20.0),
        Start("unit_ratio", 0.7, 0.01, 200.0),
    ),
    ranged=("batch", "context_tokens", "heads"),
    splits=by_columns("heads"),
    left_out="numbers of heads",
    grown="context_tokens",
)
