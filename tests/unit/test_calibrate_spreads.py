"""Spreads: bands that hold nine in ten errors, of all sizes together and by size."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.calibrate.spreads import BAND, LEAST_ROWS, Spreads, by_size, spread_ratio

pd = pytest.importorskip("pandas")


def test_a_band_is_that_of_nine_in_ten_errors_whatever_the_others_are():
    """Shares of predictions, as bands are; the ceil(0.9 (n + 1))th of n, of few the largest."""
    nine = pd.DataFrame({"seconds": [1.1, 0.9] * 4 + [1.2], "predicted_s": 1.0})
    assert BAND * spread_ratio(nine) == pytest.approx(0.2)
    many = pd.DataFrame({"seconds": [1.1, 0.9] * 10 + [50.0], "predicted_s": 1.0})
    assert BAND * spread_ratio(many) == pytest.approx(0.1)
    short = pd.DataFrame({"seconds": [1.0, 1.0], "predicted_s": [0.5, 2.0]})
    assert BAND * spread_ratio(short) == pytest.approx(1.0)


def sized(**errors):
    """Rows of the sizes s1, s64 ..., as many as there are errors."""
    rows = [(float(name[1:]), 1.0 + error) for name, found in errors.items() for error in found]
    return pd.DataFrame(rows, columns=["size", "seconds"]).assign(predicted_s=1.0)


def test_spreads_are_of_sizes_within_a_factor_of_the_largest():
    """A size that is a whole factor below the largest belongs to the next group, as in the longest decade."""
    rows = sized(s512=[0.01] * 15, s65=[0.01] * 15, s64=[0.1] * 30, s8=[0.3] * 30)
    found = by_size(rows, "size", 8.0)
    assert found.least == (65.0, 64.0, 8.0)
    assert BAND * np.array(found.ratios) == pytest.approx([0.01, 0.1, 0.3])


def test_few_rows_are_judged_with_the_next_smaller_sizes_or_the_last_with_the_one_before():
    few = LEAST_ROWS - 1
    rows = sized(s512=[0.4] * few, s64=[0.1] * few, s8=[0.2] * (3 * few), s1=[0.5] * few)
    found = by_size(rows, "size", 8.0)
    assert found.least == (64.0, 1.0)
    assert BAND * np.array(found.ratios) == pytest.approx([0.4, 0.5])
    lone = by_size(sized(s512=[0.1, 0.2], s1=[0.3]), "size", 8.0)
    assert lone.least == (1.0,)
    assert BAND * lone.ratios[0] == pytest.approx(0.3)


def test_sizes_beyond_either_end_have_the_spread_of_the_nearest():
    spreads = Spreads((100.0, 10.0), (0.1, 0.2))
    assert spreads.at(np.array([1e6, 100.0, 99.0, 10.0, 1.0])).tolist() == [0.1, 0.1, 0.2, 0.2, 0.2]
