"""Servers on H200 against kernels of the same device: nothing is fitted to what servers measured."""

from __future__ import annotations

import pandas as pd
import pytest

from ctxsim.validate.errors import error_table
from ctxsim.validate.silicon import predict_silicon, read_silicon

EVERY = 3
"""Rows apart: twenty of sixty, over all lengths, loads and numbers of accelerators; ``ctxsim validate`` takes all."""


@pytest.fixture(scope="module")
def found(outside_data):
    rows = read_silicon(outside_data / "serving" / "silicon_e2e" / "h200_sxm.csv", "h200_sxm")
    rows = rows[(rows["backend"] == "vllm") & (rows["model"] == "llama-3.1-70b")].iloc[::EVERY]
    frame = pd.DataFrame([latency for _, row in rows.iterrows() for latency in predict_silicon(row, "h200-sxm", "fp8")])
    print(error_table(frame, ["latency", "tp_size"]).to_string())
    return frame.assign(error=frame["predicted_s"] / frame["measured_s"] - 1)


def test_time_per_output_token_of_dense_models(found):
    errors = found.loc[found["latency"] == "tpot", "error"]
    print(f"TPOT of {len(errors)} rows: MAPE {errors.abs().mean():.4f}, bias {errors.mean():+.4f}")
    assert errors.abs().mean() <= 0.15


def test_no_number_of_accelerators_is_off_by_more(found):
    """Small kernels and the gaps between them weigh most where products are cut into most pieces."""
    tpot = found[found["latency"] == "tpot"]
    assert tpot.groupby("tp_size")["error"].mean().abs().max() <= 0.1
