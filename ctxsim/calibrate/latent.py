"""The fits of latent attention: numbers of heads are left out whole."""

from __future__ import annotations

import pandas as pd

from ctxsim.calibrate.decode import kv_bytes
from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, latent_decode_s, latent_prefill_s
from ctxsim.spec.calibration import Fit

MODULE_STARTS = (
    Start("launch_s", 1e-4, 2e-6, 1e-2),
    Start("flop_ratio", 0.5, 0.01, 1.2),
    Start("token_s", 1e-8, 2e-12, 1e-4),
    Start("head_s", 2e-9, 2e-12, 1e-5),
    Start("projection_flop_ratio", 0.6, 0.01, 1.2),
    Start("projection_hbm_ratio", 0.6, 0.01, 2.0),
)
"""What latent and sparse modules have in common."""

_DECODE = ("batch", "context_tokens", "heads", "latent_dim", "rope_dim", "projection_weights")
_PREFILL = ("batch", "new_tokens", "past_tokens", "heads", "key_dim", "value_dim", "projection_weights")


def weight_dtype(fit: Fit) -> str:
    """The format of the weights that a module's fit is of: the last part of its variant."""
    return fit.variant.rpartition("-")[2]


def _decode_s(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    size = sizes(rows, *_DECODE)
    return latent_decode_s(device, fit, **size, kv_bytes_per_value=kv_bytes(rows), weight_dtype=weight_dtype(fit))


def _prefill_s(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return latent_prefill_s(device, fit, **sizes(rows, *_PREFILL), weight_dtype=weight_dtype(fit))


DECODE = Form(
    family="latent_decode",
    seconds=_decode_s,
    starts=(*MODULE_STARTS, Start("hbm_ratio", 0.6, 0.01, 2.0)),
    ranged=("batch", "context_tokens", "heads"),
    splits=by_columns("heads"),
    left_out="numbers of heads",
    grown="context_tokens",
)
PREFILL = Form(
    family="latent_prefill",
    seconds=_prefill_s,
    starts=MODULE_STARTS,
    ranged=("batch", "new_tokens", "heads"),
    splits=by_columns("heads"),
    left_out="numbers of heads",
    grown="new_tokens",
)
