"""How well a form predicts what it was not fitted on: whole shapes, and the longest decade, left out in turn."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form, Mask, fit_form
from ctxsim.calibrate.robust import Array
from ctxsim.calibrate.spreads import BAND, Spreads, by_size, spread_ratio
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import Fit

FOLD_ROWS = 2000
"""Rows that the coefficients of a fit without some shape follow at most."""

DECADE = 8.0
"""The longest decade of a size is what lies beyond its largest value / 8: of 131,072 tokens, those over 16,384."""

OCTAVE = 2.0
"""Growth is judged on the last doubling of a size: the fit without it knows nearly as much as the one that is used."""

_NAMES = {DECADE: "decade", OCTAVE: "octave"}

LEAST_GROWTH = 0.1
"""Of the spread of the largest sizes: a band grows by so much over a decade even where they were predicted no worse."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How far predictions of what was left out lie from it, by size, and all together: see FitFile."""

    spread_ratio: float
    spreads: Spreads
    spread_growth_ratio: float

    def band_ratio(self, size: Array, beyond: Array) -> Array:
        """Half-width of the stated band, relative, at that size and log(times beyond the measured range)."""
        return BAND * (self.spreads.at(size) + self.spread_growth_ratio * beyond)


def judge(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> tuple[Judged, pd.DataFrame]:
    """The spread on shapes left out, with their predictions, and how it grew to the last doubling of a size.

    Growth compares errors of the same sizes, those of the last doubling: by fits that saw it of other shapes, and by
    the fit without it. Where too few rows are shorter to say, it is taken to grow by the least.
    """
    within = left_out_predictions(form, device, variant, rows)
    spreads = by_size(within, form.grown, DECADE)
    growth = LEAST_GROWTH * spreads.ratios[0] / log(DECADE)
    if len(form.judged(device, rows[shorter(form, rows, OCTAVE)])) >= len(form.starts):
        last = beyond_predictions(form, device, variant, rows, OCTAVE)
        seen = within[~shorter(form, within, OCTAVE)]
        growth = max(growth, (spread_ratio(last) - spread_ratio(seen)) / float(last["beyond"].mean()))
    return Judged(spread_ratio(within), spreads, growth), within


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
