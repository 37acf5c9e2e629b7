"""Matrix products: tiles in waves over the compute units, against what has to move, and a launch.

seconds = (launch + quantize + (compute^p + memory^p)^(1/p)) x exp(grid at m, n, k)

compute: the least over output tiles (rows x columns) and split-K factors s of
  ceil(ceil(m / rows) x ceil(n / columns) x s / units) waves
  x 2 rows columns (ceil(k / s) + fill) / (tile's ratio x peak / units), plus, for s > 1, 8 m n s bytes of partial sums;
memory: operands once and the product once, in bf16 (in fp32 that of fp32), / (hbm_ratio x bandwidth);
quantize: m k activations read in bf16 and written in the format, / (quantize_ratio x bandwidth); none in bf16 and fp32.

Coefficients: ``launch_s`` seconds; ``hbm_ratio``, ``quantize_ratio`` and ``tile_<rows>x<columns>_ratio`` shares of the
device's peaks; ``fill_values`` of K that a tile's start and end cost; ``sharpness`` p, of the turn from memory to
compute.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, OPERAND_BYTES, Seconds, Sizes, activation_bytes, joined_s
from ctxsim.spec.calibration import Fit

TILES = ((16, 64), (64, 64), (64, 128), (64, 256), (128, 256))
"""(rows of m, columns of n) of an output tile."""

_SPLITS = (1, 2, 3, 4, 8, 16)
_PARTIAL_BYTES = 8  # a partial sum in fp32, written and read


def gemm_s(device: Device, fit: Fit, dtype: str, m: Sizes, n: Sizes, k: Sizes) -> Seconds:
    """Seconds of (m x k) times (k x n) in a number format: m tokens, n outputs, k inputs.

    Raises SpecError where the device has no peak in that format.
    """
    m, n, k = (np.asarray(size, float) for size in (m, n, k))
    memory_s = moved_bytes(dtype, m, n, k) / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    compute_s = _compute_s(device, fit, dtype, m, n, k)
    seconds = fit["launch_s"] + joined_s(compute_s, memory_s, fit["sharpness"])
    if OPERAND_BYTES[dtype] < HALF_BYTES:
        quantized_bytes = m * k * (HALF_BYTES + OPERAND_BYTES[dtype])
        seconds = seconds + quantized_bytes / (fit["quantize_ratio"] * device.hbm_bytes_per_s)
    return np.asarray(seconds * np.exp(log_ratio(fit, m=m, n=n, k=k)), float)[()]


def moved_bytes(dtype: str, m: Sizes, n: Sizes, k: Sizes) -> Sizes:
    """Bytes of both operands in that format and of the product in that of activations."""
    return OPERAND_BYTES[dtype] * (m * k + k * n) + activation_bytes(dtype) * m * n


def tile_name(rows: int, columns: int) -> str:
    """The name of a tile's coefficient."""
    return f"tile_{rows}x{columns}_ratio"


def _compute_s(device: Device, fit: Fit, dtype: str, m: Seconds, n: Seconds, k: Seconds) -> Seconds:
    """The least over tiles and split-K factors."""
    unit_flop_per_s = device.peak(dtype) / device.compute_units
    partial_s = _PARTIAL_BYTES * m * n / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    least = np.full(np.broadcast_shapes(m.shape, n.shape, k.shape), np.inf)
    for rows, columns in TILES:
        tiles = np.ceil(m / rows) * np.ceil(n / columns)
        value_s = 2 * rows * columns / (fit[tile_name(rows, columns)] * unit_flop_per_s)
        for split in _SPLITS:
            waves = np.ceil(tiles * split / device.compute_units)
            seconds = waves * value_s * (np.ceil(k / split) + fit["fill_values"])
            least = np.minimum(least, seconds if split == 1 else seconds + split * partial_s)
    return least
