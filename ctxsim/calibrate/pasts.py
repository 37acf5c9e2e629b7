"""What fits of whole prompts alone are worth in chunks after a past: evidence of the one table that has pasts."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd

from ctxsim.calibrate.form import Form, fit_form
from ctxsim.calibrate.prefill import LEAST_TOKENS
from ctxsim.calibrate.spreads import BAND, COVERED, errors_of_predictions, spread_ratio
from ctxsim.cost.curves import Device


def after_past_predictions(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> pd.DataFrame:
    """All rows with predicted_s by a fit that saw whole prompts alone."""
    whole = rows[rows["past_tokens"] == 0].reset_index(drop=True)
    return rows.assign(predicted_s=form.seconds(device, fit_form(form, device, variant, whole).fit, rows))


def past_growths(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> dict[int, float]:
    """How the spread of a fit of whole prompts grows for every factor of e of (past + new) / new tokens, by the least
    number of new tokens: of chunks of LEAST_TOKENS and more, which fits follow, and of shorter ones.

    It grows from what the fit errs by on its own prompts. The least growth whose band holds nine in ten of the chunks
    that are as long and whose past is longer than they are: nearer ones say little of it.
    """
    chunks = after_past_predictions(form, device, variant, rows)
    whole, after = chunks[chunks["past_tokens"] == 0], chunks[chunks["past_tokens"] > chunks["new_tokens"]]
    long = after["new_tokens"] >= LEAST_TOKENS
    spread = spread_ratio(whole[whole["new_tokens"] >= LEAST_TOKENS])
    return {LEAST_TOKENS: _growth(after[long], spread), 0: _growth(after[~long], spread)}


def _growth(chunks: pd.DataFrame, spread: float) -> float:
    """The least growth whose band holds nine in ten of these chunks; none where the spread itself does."""
    distance = np.log((chunks["context_tokens"] / chunks["new_tokens"]).to_numpy(float))
    needed = np.sort((np.abs(errors_of_predictions(chunks)) / BAND - spread) / distance)
    return max(0.0, float(needed[min(ceil(COVERED * (len(needed) + 1)), len(needed)) - 1]))
