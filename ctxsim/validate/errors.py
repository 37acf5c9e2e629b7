"""Error tables: predictions against measurements, grouped, with the share that lies inside the stated band.

A frame of predictions has columns ``measured_s`` and ``predicted_s``, ``band_ratio`` (half-width of the stated band of
90 % as a share of the prediction; NaN where none is stated) and whatever it is grouped by.
"""

from __future__ import annotations

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
    """One row a group, in the order of the groups' names, with the columns of ``COLUMNS``."""
    groups = frame.groupby(list(by), sort=True, dropna=False)
    rows = [dict(zip(by, key, strict=True)) | error_row(group) for key, group in groups]
    return pd.DataFrame(rows, columns=[*by, *COLUMNS])


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


def decade(tokens: pd.Series) -> pd.Series:
    """The decade of a number of tokens, in words that sort: ``1K to 10K``."""
    names = ("up to 1K", "1K to 10K", "10K to 100K", "100K to 1M", "over 1M")
    edges = [10**power for power in range(3, 7)]
    return pd.Series([f"{i} {names[i]}" for i in np.searchsorted(edges, tokens, side="left")], index=tokens.index)
