"""Error tables: predictions against measurements, grouped, with the share that lies inside the stated band.

A frame of predictions has columns ``measured_s`` and ``predicted_s``, ``band_ratio`` (half-width of the stated band of
90 % as a share of the prediction; NaN where none is stated) and whatever it is grouped by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = {
    "rows": "predictions compared",
    "bias_ratio": "mean of predicted / measured - 1",
    "mape_ratio": "mean of |predicted / measured - 1|",
    "p90_ratio": "of |predicted / measured - 1|, what 90 % do not exceed",
    "worst_ratio": "the largest |predicted / measured - 1|",
    "band_ratio": "mean half-width of the stated band of 90 %, as a share of the prediction",
    "covered_ratio": "share of measurements inside that band",
}
"""Columns of an error table and what they mean."""

NINE_TENTHS = 0.9


def relative_errors(frame: pd.DataFrame) -> pd.Series:
    """Predicted / measured - 1."""
    return frame["predicted_s"] / frame["measured_s"] - 1


def error_table(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row a group with the columns of ``COLUMNS``, in the order of the groups' names, numbers in them by size."""
    groups = _ordered(frame, by).groupby(list(by), sort=True, dropna=False, observed=True)
    rows = [dict(zip(by, key, strict=True)) | error_row(group) for key, group in groups]
    return pd.DataFrame(rows, columns=[*by, *COLUMNS])


def _ordered(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The frame with words in the order of the numbers in them: heads of 64 before those of 128."""
    ordered = {name for name in by if isinstance(frame[name].dtype, pd.CategoricalDtype)}
    words = [name for name in by if name not in ordered and not pd.api.types.is_numeric_dtype(frame[name])]
    orders = {name: sorted(set(frame[name]), key=_numbers_last) for name in words}
    return frame.assign(**{name: pd.Categorical(frame[name], order, ordered=True) for name, order in orders.items()})


def _numbers_last(word: str) -> list[tuple[str, int]]:
    """A word's parts, each with the number that ends it."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", word)]


def error_row(frame: pd.DataFrame) -> dict[str, float]:
    """The columns of ``COLUMNS`` of all rows together; NaN for the band where none is stated."""
    errors = relative_errors(frame)
    sizes = errors.abs()
    banded = frame["band_ratio"].notna()
    inside = (frame["measured_s"] / frame["predicted_s"] - 1).abs() <= frame["band_ratio"]
    return {
        "rows": len(frame),
        "bias_ratio": float(errors.mean()),
        "mape_ratio": float(sizes.mean()),
        "p90_ratio": float(np.quantile(sizes, NINE_TENTHS, method="inverted_cdf")),
        "worst_ratio": float(sizes.max()),
        "band_ratio": float(frame["band_ratio"][banded].mean()) if banded.any() else np.nan,
        "covered_ratio": float(inside[banded].mean()) if banded.any() else np.nan,
    }


DECADES = ("up to 1K", "1K to 10K", "10K to 100K", "100K to 1M", "over 1M")


def decade(tokens: pd.Series) -> pd.Series:
    """The decade of a number of tokens, in words that sort by size."""
    edges = [10**power for power in range(3, 7)]
    names = [DECADES[place] for place in np.searchsorted(edges, tokens, side="left")]
    return pd.Series(pd.Categorical(names, DECADES, ordered=True), index=tokens.index)
