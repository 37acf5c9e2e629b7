"""Routed experts: grouped matrix products of the experts that some token was sent to.

share = local_experts / experts, assigned = tokens x top_k x share
touched = local_experts (1 - (1 - top_k / experts)^tokens), experts that are read
compute = (assigned + touched x padding_rows) x 6 hidden x intermediate FLOP / (flop_ratio x peak)
memory  = touched x 3 hidden x intermediate x bytes / (hbm_ratio x bandwidth)
around  = tokens x top_k x 2 (2 hidden + 3 intermediate) bytes / (activation_ratio x bandwidth)
seconds = (launch + local_experts x expert_s + joined(compute, memory, sharpness) + around) x exp(grid at tokens)

``around`` is what sorts, activates and sums every assignment, those of experts elsewhere too, as vLLM's kernels do.
Gated: up, gate and down. ``intermediate`` is what one accelerator holds of each expert.
Coefficients: ``launch_s``, ``expert_s`` seconds; ``padding_rows`` that an expert's last tile wastes; ``sharpness``;
``flop_ratio``, ``hbm_ratio``, ``activation_ratio`` shares of peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, Seconds, Sizes, joined_s
from ctxsim.spec.calibration import Fit

_MATRICES = 3

EXPERT_FORMATS: dict[str, tuple[str, float]] = {
    "bf16": ("bf16", 2.0),
    "fp8": ("fp8", 1.0),
    "fp8_block": ("fp8", 1.0),
    "int4": ("bf16", 0.5 + 2 / 128),
    "mxfp4": ("bf16", 0.5 + 1 / 32),
}
"""By variant of the fits: the number format of the products, and bytes of a weight with its share of scales.

int4: a 16-bit scale for groups of 128, multiplied in bf16 (Marlin); mxfp4: an 8-bit scale for blocks of 32 (OCP
Microscaling Formats 1.0), which Hopper and Ampere widen too.
"""


def experts_s(
    device: Device,
    fit: Fit,
    dtype: str,
    tokens: Sizes,
    hidden: Sizes,
    intermediate: Sizes,
    top_k: Sizes,
    experts: Sizes,
    local_experts: Sizes,
    weight_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """Seconds of one layer's routed experts on one accelerator, computed in ``dtype``.

    ``tokens`` of the whole batch; ``local_experts`` of ``experts`` are on this accelerator, and get their share.
    Raises SpecError where the device has no peak in that format.
    """
    share = np.asarray(local_experts, float) / experts
    assigned = tokens * top_k * share
    touched = local_experts * (1 - (1 - np.asarray(top_k, float) / experts) ** tokens)
    expert_weights = _MATRICES * hidden * intermediate
    flop = (assigned + touched * fit["padding_rows"]) * 2 * expert_weights
    read_bytes = touched * expert_weights * weight_bytes_per_value
    around_bytes = tokens * top_k * HALF_BYTES * (2 * hidden + _MATRICES * intermediate)
    compute_s = flop / (fit["flop_ratio"] * device.peak(dtype))
    memory_s = read_bytes / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    around_s = around_bytes / (fit["activation_ratio"] * device.hbm_bytes_per_s)
    work_s = joined_s(compute_s, memory_s, fit["sharpness"]) + around_s
    seconds = fit["launch_s"] + local_experts * fit["expert_s"] + work_s
    return np.asarray(seconds * np.exp(log_ratio(fit, tokens=tokens)), float)[()]
