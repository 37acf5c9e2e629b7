"""Coefficients by robust least squares of relative errors, with standard errors and what the data cannot identify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

Array = npt.NDArray[np.float64]

_OUTLIER = 0.05  # log ratio from where on an error counts linearly instead of squared
_STEP = 1e-5  # of the logarithm of a coefficient: forms with ceilings have no derivative at a point
_PULL = 0.01  # weight of a start against one row: coefficients that rows say nothing of stay there
_TOLERANCE = 1e-4  # of the logarithms and of the sum of squares
_AT_BOUND = 0.01  # of the logarithm: nearer to a bound than this is at it
_MOST_ERROR = 1.0  # a standard error beyond the value itself identifies nothing


@dataclass(frozen=True, slots=True)
class Start:
    """A coefficient before the fit: its starting point, and the bounds within which it makes sense."""

    name: str
    value: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A coefficient after the fit; ``error``: standard error relative to the value, None where not identified."""

    value: float
    error: float | None


def fit_coefficients(
    predict: Callable[[Mapping[str, float]], Array], measured_s: Array, starts: Sequence[Start], weights: Array
) -> dict[str, Estimate]:
    """The coefficients that make ``predict`` follow ``measured_s`` best, in relative error with soft outliers.

    Fitted are their logarithms. Standard errors come from the Jacobian and the spread of the residuals, as if rows
    erred independently; a coefficient whose error is beyond its value, or that ends at a bound, is not identified.
    """
    names = [start.name for start in starts]
    log_measured, root = np.log(measured_s), np.sqrt(weights)

    def residuals(logs: Array) -> Array:
        predicted = predict(dict(zip(names, np.exp(logs).tolist(), strict=True)))
        return np.concatenate([root * (np.log(predicted) - log_measured), _PULL * (logs - starting)])

    starting = np.log([start.value for start in starts])
    lower = np.log([start.least for start in starts])
    upper = np.log([start.most for start in starts])
    result = least_squares(
        residuals,
        starting,
        bounds=(lower, upper),
        loss="soft_l1",
        f_scale=_OUTLIER,
        diff_step=_STEP,
        xtol=_TOLERANCE,
        ftol=_TOLERANCE,
    )
    at_bound = (result.x - lower < _AT_BOUND) | (upper - result.x < _AT_BOUND)
    rows = slice(len(measured_s))
    errors = _standard_errors(result.jac[rows], residuals(result.x)[rows])
    found = zip(names, np.exp(result.x).tolist(), errors.tolist(), at_bound.tolist(), strict=True)
    return {
        name: Estimate(value, None if bound or error > _MOST_ERROR else error) for name, value, error, bound in found
    }


def _standard_errors(jacobian: Array, residuals: Array) -> Array:
    """Of the logarithms, which is relative to the values; infinite where a direction leaves no trace in the rows."""
    spread = float(residuals @ residuals) / max(len(residuals) - jacobian.shape[1], 1)
    _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    seen = singular > singular[0] * np.finfo(float).eps * len(residuals)
    inverse = np.where(seen, 1.0 / np.where(seen, singular, 1.0), 0.0)
    errors = np.sqrt(spread * ((directions.T * inverse) ** 2).sum(axis=1))
    blind = (directions[~seen] ** 2).sum(axis=0) > _AT_BOUND
    return np.asarray(np.where(blind, np.inf, errors))
