"""The fit of copies between tiers: sizes of a piece are left out whole."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_decades
from ctxsim.cost.curves import Device, copy_s
from ctxsim.spec.calibration import Fit

LEAST_BYTES = 4**8
"""Sessions are copied by the megabyte; smaller copies lie in a cache, and only help to find the start."""

_SMALL_WEIGHT = 0.1


def _weights(device: Device, rows: pd.DataFrame) -> Array:
    return np.where(rows["moved_bytes"] >= LEAST_BYTES, 1.0, _SMALL_WEIGHT)


def form_of(peak_bytes_per_s: float) -> Form:
    """The form with rates as shares of that peak: the host link's, one way."""

    def seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
        moved, descriptors = (rows[name].to_numpy(float) for name in ("moved_bytes", "descriptors"))
        return copy_s(fit, peak_bytes_per_s, moved, descriptors)

    return Form(
        family="copy",
        seconds=seconds,
        starts=(
            Start("start_s", 5e-6, 1e-8, 1e-2),
            Start("descriptor_s", 3e-6, 1e-8, 1e-3),
            Start("ratio", 0.8, 0.01, 1.5),
        ),
        ranged=("moved_bytes", "descriptors"),
        splits=by_decades("moved_bytes"),
        left_out="decades of bytes moved",
        grown="moved_bytes",
        weights=_weights,
    )
