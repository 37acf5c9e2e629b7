"""Whole shapes that are left out of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Split


def by_columns(*names: str) -> Callable[[pd.DataFrame], list[Split]]:
    """One split for each combination of values of these columns."""

    def splits(rows: pd.DataFrame) -> list[Split]:
        shapes = rows[list(names)].drop_duplicates().sort_values(list(names))
        return [
            (
                ", ".join(f"{name} {value:g}" for name, value in zip(names, shape, strict=True)),
                (rows[list(names)] == shape).all(axis=1).to_numpy(),
            )
            for shape in shapes.to_numpy()
        ]

    return splits


def by_decades(name: str) -> Callable[[pd.DataFrame], list[Split]]:
    """One split for each power of ten of this column."""

    def splits(rows: pd.DataFrame) -> list[Split]:
        decade = np.floor(np.log10(rows[name].to_numpy(float)))
        return [(f"{name} of 1e{value:.0f} to 1e{value + 1:.0f}", decade == value) for value in np.unique(decade)]

    return splits


def both(
    first: Callable[[pd.DataFrame], list[Split]], second: Callable[[pd.DataFrame], list[Split]]
) -> Callable[[pd.DataFrame], list[Split]]:
    """The splits of both: every row is left out in two ways."""

    def splits(rows: pd.DataFrame) -> list[Split]:
        return [*first(rows), *second(rows)]

    return splits
