"""What a form leaves over, at the knots of a grid: smooth, so that knots without data follow their neighbours."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix, diags_array, vstack
from scipy.sparse.linalg import lsqr

from ctxsim.calibrate.robust import Array
from ctxsim.cost.curves.grid import Axes, corners

_DECIMALS = 4
_OUTLIER = 0.1  # log ratio from where on a row is trusted less
_DAMPING = 0.1  # towards zero, the form alone, where neither data nor neighbours say anything


def fit_grid(axes: Axes, quantities: dict[str, Array], log_ratios: Array, smoothness: float) -> tuple[float, ...]:
    """The values at the knots that follow ``log_ratios`` of the rows best, in the order of Fit.values.

    ``smoothness``: weight of a knot's distance from the line through its two neighbours along each axis, in rows.
    """
    weights = _interpolation(axes, quantities, len(log_ratios))
    bends = _bends(axes)
    values = _solved(weights, log_ratios, smoothness * bends)
    # Rows that lie far off the first solution count less in the second: one bad measurement bends no knot.
    trust = (1.0 + ((log_ratios - weights @ values) / _OUTLIER) ** 2) ** -0.5
    values = _solved(diags_array(trust) @ weights, trust * log_ratios, smoothness * bends)
    return tuple(np.round(values, _DECIMALS).tolist())


def _solved(weights: csr_matrix, target: Array, bends: csr_matrix) -> Array:
    """The knots whose interpolation lies nearest to the target, with little bending."""
    system = vstack([weights, bends]).tocsr()
    return np.asarray(lsqr(system, np.concatenate([target, np.zeros(bends.shape[0])]), damp=_DAMPING)[0])


def _interpolation(axes: Axes, quantities: dict[str, Array], rows: int) -> csr_matrix:
    """Rows x knots: the weight that each knot has at each row."""
    around = [(np.broadcast_to(p, rows), np.broadcast_to(w, rows)) for p, w in corners(axes, **quantities)]
    places = np.concatenate([place for place, _ in around])
    weights = np.concatenate([weight for _, weight in around])
    row = np.tile(np.arange(rows), len(around))
    return coo_matrix((weights, (row, places)), shape=(rows, _knots(axes))).tocsr()


def _bends(axes: Axes) -> csr_matrix:
    """One row for each knot of each axis: the knot less what its neighbours along the axis give, at an end the one."""
    places = np.arange(_knots(axes)).reshape([len(knots) for _, knots in axes])
    return vstack([_bends_along(places, axis, np.log(knots)) for axis, (_, knots) in enumerate(axes)]).tocsr()


def _bends_along(places: npt.NDArray[np.intp], axis: int, log_knots: Array) -> csr_matrix:
    lines = np.moveaxis(places, axis, -1).reshape(-1, len(log_knots))
    # Beyond an end its own value holds, as in evaluation: an end alone follows its only neighbour.
    below = lines[:, [1, *range(len(log_knots) - 1)]]
    above = lines[:, [*range(1, len(log_knots)), -2]]
    inner = (log_knots[1:-1] - log_knots[:-2]) / (log_knots[2:] - log_knots[:-2])
    upper = np.tile([0.0, *inner, 1.0], len(lines))
    row = np.arange(lines.size)
    values = np.concatenate([np.ones(lines.size), upper - 1.0, -upper])
    columns = np.concatenate([lines.ravel(), below.ravel(), above.ravel()])
    return coo_matrix((values, (np.tile(row, 3), columns)), shape=(lines.size, places.size)).tocsr()


def _knots(axes: Axes) -> int:
    return prod(len(knots) for _, knots in axes)
