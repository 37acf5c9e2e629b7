"""What a form leaves over, at knots: multilinear in the logarithms of the axes, constant beyond the last knots."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit

Axes = tuple[tuple[str, tuple[float, ...]], ...]
"""Names and ascending knots, in the order of Fit.axes."""

Corner = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


def log_ratio(fit: Fit, **quantities: Sizes) -> Seconds:
    """log(measured / predicted seconds) of a fit's grid at quantities named as its axes; zeros without a grid.

    ``log_ratio(fit, m=64, n=4096, k=4096)``. Quantities below the first knot or above the last take its value.
    """
    if not fit.axes:
        return np.zeros(np.broadcast_shapes(*(np.shape(q) for q in quantities.values())))[()]
    values = np.asarray(fit.values)
    total = sum(weight * values[place] for place, weight in corners(fit.axes, **quantities))
    return np.asarray(total, float)[()]


def corners(axes: Axes, **quantities: Sizes) -> Iterator[Corner]:
    """The knots around each point, as (place in the grid's values, weight): 2^axes pairs whose weights sum to 1."""
    sides = [_sides(quantities[name], knots) for name, knots in axes]
    lengths = [len(knots) for _, knots in axes]
    for choice in product((0, 1), repeat=len(axes)):
        place = np.zeros((), np.intp)
        weight = np.ones(())
        for upper, (below, share), length in zip(choice, sides, lengths, strict=True):
            place = place * length + below + upper
            weight = weight * (share if upper else 1.0 - share)
        yield place, weight


def _sides(quantity: Sizes, knots: tuple[float, ...]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """The knot below each point, and how far the point is towards the next one, 0 to 1."""
    log_knots = np.log(knots)
    log_quantity = np.log(np.clip(quantity, knots[0], knots[-1]))
    below = np.clip(np.searchsorted(log_knots, log_quantity, side="right") - 1, 0, len(knots) - 2)
    share = (log_quantity - log_knots[below]) / (log_knots[below + 1] - log_knots[below])
    return below, np.clip(share, 0.0, 1.0)
