"""Grids of what a form leaves over: interpolation by hand, and values beyond the knots."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.cost.curves import log_ratio
from ctxsim.spec.calibration import Fit


def fit(axes, values):
    return Fit("gemm", "bf16", (), (), 0.0, 0.0, axes, values)


def test_no_grid_leaves_nothing_over():
    assert log_ratio(fit((), ()), m=5.0) == 0.0
    assert np.array_equal(log_ratio(fit((), ()), m=np.ones(3), n=2.0), np.zeros(3))


def test_knots_are_met_and_the_logarithm_counts_between_them():
    line = fit((("m", (1.0, 4.0, 16.0)),), (0.0, 0.4, -0.2))
    assert log_ratio(line, m=np.array([1.0, 4.0, 16.0])) == pytest.approx([0.0, 0.4, -0.2])
    assert log_ratio(line, m=2.0) == pytest.approx(0.2)  # half the way in log
    assert log_ratio(line, m=8.0) == pytest.approx(0.1)


def test_beyond_the_knots_the_last_value_holds():
    line = fit((("m", (2.0, 4.0)),), (0.1, 0.3))
    assert log_ratio(line, m=np.array([0.0, 1.0, 5.0, 1e9])) == pytest.approx([0.1, 0.1, 0.3, 0.3])


def test_two_axes_the_last_one_fastest():
    plane = fit((("m", (1.0, 4.0)), ("n", (1.0, 100.0))), (0.0, 1.0, 2.0, 5.0))
    assert log_ratio(plane, n=1.0, m=4.0) == pytest.approx(2.0)
    # m half, n half: mean of the four corners.
    assert log_ratio(plane, m=2.0, n=10.0) == pytest.approx((0 + 1 + 2 + 5) / 4)
    # m a quarter (2^0.5 of 4), n all the way: 0.75 x 1 + 0.25 x 5.
    assert log_ratio(plane, m=2**0.5, n=100.0, other=7.0) == pytest.approx(2.0)
