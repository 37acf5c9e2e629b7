"""How far predictions lie from measurements, as a spread whose band holds nine in ten, of all sizes and by size."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Mask
from ctxsim.calibrate.robust import Array

COVERED = 0.9
"""The share of errors that a band is meant to hold."""

BAND = 1.645
"""Half-width of a band in spreads, as if errors were normal: nine in ten lie within so many standard deviations."""

LEAST_ROWS = 20
"""Errors that a spread of some sizes comes from, at least: of 20 the band leaves out one."""


@dataclass(frozen=True, slots=True)
class Spreads:
    """Spreads by size: ``ratios[i]`` holds from ``least[i]`` on, the largest sizes first; the last one below too."""

    least: tuple[float, ...]
    ratios: tuple[float, ...]

    def at(self, size: Array) -> Array:
        """The spreads at those sizes."""
        return np.select([size >= least for least in self.least], self.ratios, self.ratios[-1])


def by_size(predictions: pd.DataFrame, size: str, factor: float) -> Spreads:
    """Spreads of sizes within a factor of the largest, the next factor, and so on; over more where rows are few."""
    sizes = predictions[size].to_numpy(float)
    groups = _groups(sizes, factor)
    least = tuple(float(sizes[rows].min()) for rows in groups)
    return Spreads(least, tuple(spread_ratio(predictions[rows]) for rows in groups))


def _groups(sizes: Array, factor: float) -> list[Mask]:
    """Rows by factors below the largest size, each group with LEAST_ROWS; what remains belongs to the last."""
    most = sizes.max()
    place = np.floor(np.log(most / sizes) / log(factor))
    groups, pending = [], np.zeros(len(sizes), bool)
    for step in np.unique(place):
        pending = pending | (place == step)
        if pending.sum() >= LEAST_ROWS:
            groups.append(pending)
            pending = np.zeros(len(sizes), bool)
    return [*groups[:-1], groups[-1] | pending] if groups else [pending]


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
