"""What an engine's host does between two iterations: a part for each iteration and a part for each sequence of it.

seconds = iteration_s + sequence_s x sequences

One fit for each of an engine's steps (scheduling, input preparation, sampling, output processing); which of them
the device waits for is the engine's matter. Coefficients in seconds.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit


def host_s(fit: Fit, sequences: Sizes) -> Seconds:
    """Seconds of one step of the host for an iteration of so many sequences."""
    return np.asarray(fit["iteration_s"] + fit["sequence_s"] * np.asarray(sequences, float), float)[()]
