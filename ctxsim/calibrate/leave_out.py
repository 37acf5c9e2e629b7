"""How well a form predicts what it was not fitted on: whole shapes, and the longest decade, left out in turn."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form, Mask, fit_form
from ctxsim.calibrate.robust import Array
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import Fit

FOLD_ROWS = 2000
"""Rows that the coefficients of a fit without some shape follow at most."""

DECADE = 8.0
"""The longest decade of a size is what lies beyond its largest value / 8: of 131,072 tokens, those over 16,384."""

COVERED = 0.9
"""The share of errors that a band is meant to hold."""

BAND = 1.645
"""Half-width of a band in spreads, as if errors were normal: nine in ten lie within so many standard deviations."""


OCTAVE = 2.0
"""Growth is judged on the last doubling of a size: the fit without it knows nearly as much as the one that is used."""

_NAMES = {DECADE: "decade", OCTAVE: "octave"}

LEAST_GROWTH = 0.1
"""Of the spread: a band grows by so much over a decade even where that happened to be predicted no worse."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How far predictions of what was left out lie from it: see FitFile."""

    spread_ratio: float
    spread_growth_ratio: float

    def band_ratio(self, beyond: Array) -> Array:
        """Half-width of the stated band, relative, at log(times beyond the measured range)."""
        return BAND * (self.spread_ratio + self.spread_growth_ratio * beyond)


def judge(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> tuple[Judged, pd.DataFrame]:
    """The spread on shapes left out, with their predictions, and how it grew to the last doubling of a size.

    Where too few rows are shorter to say, it is taken to grow by the least.
    """
    within = left_out_predictions(form, device, variant, rows)
    spread = spread_ratio(within)
    least = LEAST_GROWTH * spread / log(DECADE)
    if len(form.judged(device, rows[shorter(form, rows, OCTAVE)])) < len(form.starts):
        return Judged(spread, least), within
    last = beyond_predictions(form, device, variant, rows, OCTAVE)
    growth = (spread_ratio(last) - spread) / float(last["beyond"].mean())
    return Judged(spread, max(growth, least)), within


def left_out_predictions(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of every split, predicted by a fit on all other rows: the frame with split, predicted_s and in_range.

    Every fit starts where the form says, not at the fit of all rows: what rows cannot identify must not leak in.
    """
    parts = []
    for label, mask in form.splits(rows):
        if len(form.judged(device, rows[mask])):
            without = fit_form(form, device, variant, rows[~mask], FOLD_ROWS).fit
            parts.append(predicted(form, device, without, rows[mask], label))
    return pd.concat(parts, ignore_index=True)


def shorter(form: Form, rows: pd.DataFrame, factor: float) -> Mask:
    """Rows whose growing size is at most the largest / ``factor``."""
    size = rows[form.grown].to_numpy(float)
    return np.asarray(size <= size.max() / factor)


def beyond_predictions(form: Form, device: Device, variant: str, rows: pd.DataFrame, factor: float) -> pd.DataFrame:
    """Rows of the last ``factor`` (DECADE, OCTAVE) of the form's growing size, predicted by a fit on shorter ones."""
    short = shorter(form, rows, factor)
    without = fit_form(form, device, variant, rows[short]).fit
    return predicted(form, device, without, rows[~short], f"longest {_NAMES[factor]} of {form.grown}")


def spread_ratio(predictions: pd.DataFrame) -> float:
    """The spread whose band holds nine in ten of the errors: that quantile of their sizes, over BAND.

    A band is stated as a share of a prediction, so errors are taken as shares of it too, and a bias counts as spread.
    The quantile is that of split conformal prediction, the ceil(0.9 (n + 1))th of n, the largest of a few: what it
    says of nine in ten holds for errors of any distribution, and one measurement gone wrong does not move it.
    """
    sizes = np.sort(np.abs(errors_of_predictions(predictions)))
    return float(sizes[min(ceil(COVERED * (len(sizes) + 1)), len(sizes)) - 1]) / BAND


def errors_of_predictions(predictions: pd.DataFrame) -> Array:
    """Measured / predicted - 1."""
    return (predictions["seconds"] / predictions["predicted_s"] - 1).to_numpy(float)


def log_beyond(fit: Fit, rows: pd.DataFrame) -> Array:
    """The sum over quantities of log(how many times beyond the measured range); 0 inside."""
    total = np.zeros(len(rows))
    for name, least, most in fit.measured:
        size = rows[name].to_numpy(float)
        with np.errstate(divide="ignore"):
            total += np.maximum(np.log(size) - log(most), 0) + np.maximum(log(least) - np.log(size), 0)
    return total


def predicted(form: Form, device: Device, fit: Fit, rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows that the form is meant to follow, with split, predicted_s, beyond (see log_beyond) and in_range."""
    rows = form.judged(device, rows)
    beyond = log_beyond(fit, rows)
    return rows.assign(split=split, predicted_s=form.seconds(device, fit, rows), beyond=beyond, in_range=beyond == 0)
