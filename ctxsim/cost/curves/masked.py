"""Prefill attention by kernels that are handed the causal mask, as those of a CPU after a past: nothing is skipped.

pairs = new x (past + new) after a past; without one the kernel knows the diagonal: new^2 / 2 + new x min(lag, new / 2)
seconds = (batch x (call + heads x pairs x 4 (head_dim + score) FLOP / (flop_ratio x peak)
           + new x (past + new) x mask bytes / (mask_ratio x bandwidth), after a past)) x exp(grid)

Sequences are computed one after the other. The grid's axes are ``new_tokens`` and ``total_tokens`` (past and new).
Coefficients: ``call_s`` seconds of each sequence; ``flop_ratio`` share of the peak; ``mask_ratio`` share of the
bandwidth; ``score_values``: what a score's exponential and mask take, in values of a head; ``lag_tokens`` that are
computed beyond the diagonal.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes, activation_bytes
from ctxsim.spec.calibration import Fit

_FLOP_PER_PAIR = 4  # per value of a head: a multiply-add for the score, one for the output


def masked_prefill_s(
    device: Device,
    fit: Fit,
    dtype: str,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    head_dim: Sizes,
) -> Seconds:
    """Seconds of one layer in a number format: ``batch`` sequences of ``new_tokens`` each after ``past_tokens``.

    Raises SpecError where the device has no peak in that format.
    """
    new, past = np.asarray(new_tokens, float), np.asarray(past_tokens, float)
    masked = np.where(past > 0, new * (past + new), 0.0)
    pairs = np.where(past > 0, masked, new * new / 2 + new * np.minimum(fit["lag_tokens"], new / 2))
    flop = heads * pairs * _FLOP_PER_PAIR * (head_dim + fit["score_values"])
    one_s = fit["call_s"] + flop / (fit["flop_ratio"] * device.peak(dtype))
    one_s = one_s + masked * activation_bytes(dtype) / (fit["mask_ratio"] * device.hbm_bytes_per_s)
    left_over = log_ratio(fit, new_tokens=new, total_tokens=past + new)
    return np.asarray(batch * one_s * np.exp(left_over), float)[()]
