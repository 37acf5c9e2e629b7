"""The fit of a CPU's matrix products: products are left out whole, as all rows of one n and k.

Libraries multiply up to eight rows in ways of their own, some slower than more rows would be: each has a knot.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ctxsim.calibrate import gemm
from ctxsim.calibrate.frames import sizes
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device, packed_gemm_s
from ctxsim.spec.calibration import Fit


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return packed_gemm_s(device, fit, fit.variant, **sizes(rows, "m", "n", "k"))


FORM = replace(
    gemm.FORM,
    family="packed_gemm",
    seconds=_seconds,
    starts=(
        Start("launch_s", 5e-6, 1e-7, 1e-4),
        Start("hbm_ratio", 0.8, 0.05, 2.0),
        Start("packed_ratio", 0.7, 0.05, 2.0),
        Start("activation_ratio", 1.0, 0.05, 20.0),
        Start("flop_ratio", 0.8, 0.05, 1.2),
        Start("sharpness", 1.5, 1.0, 20.0),
    ),
    axes=(
        ("m", (*(float(rows) for rows in range(1, 9)), *(2.0**power for power in range(4, 14)))),
        ("n", tuple(2.0**power for power in range(9, 16))),
        ("k", tuple(2.0**power for power in range(9, 16))),
    ),
    smoothness=0.1,
    splits=by_columns("n", "k"),
    left_out="products (all rows of one n and k)",
)
