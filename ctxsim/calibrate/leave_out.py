"""How well a form predicts what it was not fitted on: whole shapes, and the longest decade, left out in turn."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

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

BAND = 1.645
"""Half-width of a band in standard deviations: nine in ten of normal errors lie within."""


LEAST_GROWTH = 0.1
"""Of the spread: a band grows by so much to the longest decade even where that happened to be predicted no worse."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How far predictions of what was left out lie from it: see FitFile."""

    spread_ratio: float
    spread_growth_ratio: float

    def band_ratio(self, beyond: Array) -> Array:
        """Half-width of the stated band, relative, at log(times beyond the measured range)."""
        return BAND * (self.spread_ratio + self.spread_growth_ratio * beyond)


def judge(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> tuple[Judged, pd.DataFrame]:
    """The spread on shapes left out and its growth to the longest decade, with all those predictions."""
    within = left_out_predictions(form, device, variant, rows)
    spread = spread_ratio(within)
    return Judged(spread, _growth(form, device, variant, rows, spread)), within


def _growth(form: Form, device: Device, variant: str, rows: pd.DataFrame, spread: float) -> float:
    """The growth of the spread for each factor of e; the least there is where too few rows are shorter to say."""
    if len(form.judged(device, rows[shorter(form, rows)])) < len(form.starts):
        return LEAST_GROWTH * spread / log(DECADE)
    longest = longest_decade_predictions(form, device, variant, rows)
    return max(spread_ratio(longest) - spread, LEAST_GROWTH * spread) / float(longest["beyond"].mean())


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


def shorter(form: Form, rows: pd.DataFrame) -> Mask:
    """Rows that are not of the longest decade of the form's growing size."""
    size = rows[form.grown].to_numpy(float)
    return np.asarray(size <= size.max() / DECADE)


def longest_decade_predictions(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the longest decade of the form's growing size, predicted by a fit on the shorter ones."""
    short = shorter(form, rows)
    without = fit_form(form, device, variant, rows[short]).fit
    return predicted(form, device, without, rows[~short], f"longest decade of {form.grown}")


def spread_ratio(predictions: pd.DataFrame) -> float:
    """Root mean square of the relative errors: a bias counts as spread."""
    return float(np.sqrt(np.mean(relative_errors(predictions) ** 2)))


def relative_errors(predictions: pd.DataFrame) -> Array:
    """Predicted / measured - 1."""
    return (predictions["predicted_s"] / predictions["seconds"] - 1).to_numpy(float)


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
