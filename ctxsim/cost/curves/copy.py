"""Copies between memory tiers: a start, every piece of them, and their bytes.

seconds = start + descriptors x descriptor_s + bytes / (ratio x peak)

peak: the profile's host link, one way, or the memory's bandwidth for a copy within the device.
Coefficients: ``start_s``, ``descriptor_s`` seconds; ``ratio`` share of the peak.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit


def copy_s(fit: Fit, peak_bytes_per_s: float, moved_bytes: Sizes, descriptors: Sizes) -> Seconds:
    """Seconds of a copy of ``moved_bytes`` (each way) in so many contiguous pieces."""
    setup_s = fit["start_s"] + np.asarray(descriptors, float) * fit["descriptor_s"]
    return np.asarray(setup_s + np.asarray(moved_bytes, float) / (fit["ratio"] * peak_bytes_per_s), float)[()]
