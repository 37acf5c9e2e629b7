"""The fits of all-reduce: whole decades of message size are left out, of custom kernels whole machines too."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ctxsim.calibrate.form import Form
from ctxsim.calibrate.robust import Array, Start
from ctxsim.calibrate.splits import both, by_columns, by_decades
from ctxsim.cost.curves import Device, all_reduce_s
from ctxsim.spec.calibration import Fit


def _seconds(device: Device, fit: Fit, rows: pd.DataFrame) -> Array:
    return all_reduce_s(device, fit, rows["moved_bytes"].to_numpy(float), rows["accelerators"].to_numpy(float))


NCCL = Form(
    family="all_reduce",
    seconds=_seconds,
    starts=(
        Start("small_latency_s", 5e-6, 1e-7, 2e-3),
        Start("small_hop_s", 5e-7, 1e-8, 2e-3),
        Start("small_ratio", 0.02, 0.0001, 1.0),
        Start("medium_latency_s", 1e-5, 1e-7, 2e-3),
        Start("medium_hop_s", 5e-7, 1e-8, 2e-3),
        Start("medium_ratio", 0.3, 0.0001, 1.0),
        Start("large_latency_s", 5e-5, 1e-7, 1e-2),
        Start("large_hop_s", 5e-7, 1e-8, 2e-3),
        Start("large_ratio", 0.8, 0.0001, 1.5),
    ),
    ranged=("moved_bytes", "accelerators"),
    splits=by_decades("moved_bytes"),
    left_out="decades of message size",
    grown="moved_bytes",
    axes=(("moved_bytes", tuple(4.0**power for power in range(4, 16))), ("accelerators", (2.0, 4.0, 8.0))),
    smoothness=0.1,
)
CUSTOM = replace(
    NCCL,
    starts=tuple(start for start in NCCL.starts if not start.name.startswith("medium")),
    splits=both(by_columns("accelerators"), by_decades("moved_bytes")),
    left_out="numbers of accelerators, and decades of message size",
    axes=(),
)
"""Two regimes of six coefficients leave too little over for a grid to follow."""
