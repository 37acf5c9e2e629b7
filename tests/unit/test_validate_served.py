"""An engine's tables against a prediction's: means, tails and copies, and what is called within the targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctxsim.engine import HBM, HOST
from ctxsim.validate.served import served_errors, served_sections, within_targets


def tables(slower: float = 1.0, swaps: int = 2, copies_slower: float = 1.0) -> dict[str, pd.DataFrame]:
    request = np.arange(10)
    requests = pd.DataFrame({
        "request": request, "ttft_s": slower * (1.0 + request), "tpot_s": [np.nan, *[slower * 0.1] * 9],
        "e2e_s": slower * (2.0 + request),
    })  # fmt: skip
    rows = [(HOST, HBM, 100.0, 5.0, 5.0 + copies_slower), (HBM, HOST, 200.0, 1.0, 1.0 + 2 * copies_slower)]
    names = ("source", "target", "moved_bytes", "start_s", "end_s")
    return {"requests": requests, "transfers": pd.DataFrame((rows * 2)[:swaps], columns=names)}


def test_a_prediction_that_is_right_has_no_errors() -> None:
    found = served_errors(tables(), tables())
    assert found["quantity"].tolist() == ["ttft_s", "tpot_s", "e2e_s", "swap_in_s", "swap_out_s"]
    assert found[["mean_error_ratio", "p90_error_ratio", "single_mape_ratio"]].abs().to_numpy().max() == 0
    assert within_targets(found)
    assert "All within the targets." in served_sections(found, "A run.")[0].words


def test_errors_are_predicted_over_measured() -> None:
    found = served_errors(tables(), tables(1.1, copies_slower=0.5)).set_index("quantity")
    assert found.loc["ttft_s", "mean_error_ratio"] == pytest.approx(0.1)
    assert found.loc["ttft_s", "mean_measured_s"] == pytest.approx(5.5)
    assert found.loc["ttft_s", "p90_measured_s"] == pytest.approx(9.1)
    assert found.loc["swap_out_s", "mean_error_ratio"] == pytest.approx(-0.5)


@pytest.mark.parametrize(("slower", "copies_slower", "within"), [(1.07, 1.0, True), (1.09, 1.0, False),
                                                                 (1.0, 0.9, False)])  # fmt: skip
def test_every_judged_quantity_counts(slower: float, copies_slower: float, within: bool) -> None:
    found = served_errors(tables(), tables(slower, copies_slower=copies_slower))
    assert within_targets(found) == within
    said = served_sections(found, "A run.")[0].words
    assert ("Outside the targets" in said) != within


def test_swaps_that_nobody_predicted_are_no_success() -> None:
    found = served_errors(tables(), tables(swaps=0))
    assert not within_targets(found)
    assert np.isnan(found.set_index("quantity").loc["swap_in_s", "mean_error_ratio"])


def test_an_engine_that_never_swapped_is_judged_without() -> None:
    found = served_errors(tables(swaps=0), tables())
    assert found["quantity"].tolist() == ["ttft_s", "tpot_s", "e2e_s"]
    assert within_targets(found)
