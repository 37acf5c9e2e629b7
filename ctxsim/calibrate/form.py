"""A family's form with all that a fit of it needs, and the fit itself: the same steps for every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctxsim.calibrate.leftover import fit_grid
from ctxsim.calibrate.robust import Array, Estimate, Start, fit_coefficients
from ctxsim.cost.curves import Device
from ctxsim.cost.curves.grid import Axes
from ctxsim.spec.calibration import Family, Fit

Mask = npt.NDArray[np.bool_]
Split = tuple[str, Mask]
"""What is left out, in words, and its rows."""

MOST_ROWS = 5000
"""Coefficients follow so many rows at most, spread evenly over the frame."""


def every_row(device: Device, rows: pd.DataFrame) -> Array:
    """All rows count alike in the fit."""
    return np.ones(len(rows))


def columns(device: Device, rows: pd.DataFrame) -> dict[str, Array]:
    """A grid's quantities are columns of the frame."""
    return {str(name): rows[name].to_numpy(float) for name in rows.select_dtypes("number")}


@dataclass(frozen=True, slots=True)
class Form:
    """One family's form for a fit.

    seconds: predictions for a frame's rows; starts: its coefficients; ranged: columns whose measured range is stated;
    splits: whole shapes to leave out, ``left_out``: those in words; grown: the column whose longest decade is left out
    to find how errors grow; weights: of rows, 1 for those that are followed and judged, less for
    those that only help to find coefficients, 0 for those left aside; axes: knots of the grid, if any, by columns of
    ``grid_quantities``; smoothness: of the grid, see fit_grid.
    """

    family: Family
    seconds: Callable[[Device, Fit, pd.DataFrame], Array]
    starts: tuple[Start, ...]
    ranged: tuple[str, ...]
    splits: Callable[[pd.DataFrame], list[Split]]
    left_out: str
    grown: str
    weights: Callable[[Device, pd.DataFrame], Array] = every_row
    axes: Axes = ()
    grid_quantities: Callable[[Device, pd.DataFrame], dict[str, Array]] = columns
    smoothness: float = 1.0

    def judged(self, device: Device, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that the form is meant to follow."""
        judged: pd.DataFrame = rows[self.weights(device, rows) == 1]
        return judged


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit with the standard errors of its coefficients and the number of rows it followed."""

    fit: Fit
    estimates: Mapping[str, Estimate]
    rows: int


def fit_form(form: Form, device: Device, variant: str, rows: pd.DataFrame, most_rows: int = MOST_ROWS) -> Fitted:
    """Coefficients first, on rows thinned evenly where there are many, then the grid on what they leave over."""
    counted = rows[form.weights(device, rows) > 0]
    thinned = counted.iloc[:: -(-len(counted) // most_rows)]
    judged = form.judged(device, counted)
    blank = Fit(form.family, variant, (), (), 0.0, 0.0)

    def predict(coefficients: Mapping[str, float]) -> Array:
        return form.seconds(device, replace(blank, coefficients=tuple(coefficients.items())), thinned)

    measured_s = thinned["seconds"].to_numpy(float)
    estimates = fit_coefficients(predict, measured_s, form.starts, form.weights(device, thinned))
    fit = replace(
        blank,
        coefficients=tuple((name, estimate.value) for name, estimate in estimates.items()),
        measured=tuple((name, float(judged[name].min()), float(judged[name].max())) for name in form.ranged),
    )
    return Fitted(_with_grid(form, device, fit, judged), estimates, len(counted))


def _with_grid(form: Form, device: Device, fit: Fit, rows: pd.DataFrame) -> Fit:
    """The fit with the grid of what it leaves over on these rows."""
    if not form.axes:
        return fit
    left_over = np.log(rows["seconds"].to_numpy(float) / form.seconds(device, fit, rows))
    quantities = form.grid_quantities(device, rows)
    axes = tuple((name, _within(knots, quantities[name])) for name, knots in form.axes)
    return replace(fit, axes=axes, values=fit_grid(axes, quantities, left_over, form.smoothness))


def _within(knots: tuple[float, ...], quantity: Array) -> tuple[float, ...]:
    """The knots between which the quantity was measured: beyond them a grid has nothing to say."""
    first = max(sum(knot <= quantity.min() for knot in knots) - 1, 0)
    last = max(sum(knot < quantity.max() for knot in knots) + 1, first + 2)
    return knots[first:last]
