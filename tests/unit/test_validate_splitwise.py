"""Splitwise's table: medians of repeats, batches that were not computed left out, one prediction for each phase."""

from __future__ import annotations

import pandas as pd
import pytest

from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.spec.scenario import load_scenario
from ctxsim.validate.splitwise import predict_splitwise, read_splitwise, splitwise_checks


@pytest.fixture
def table(tmp_path):
    """One sequence three times, four, and eight that took no time; then a model and a device not known here."""
    path = tmp_path / "perf_model.csv"
    pd.DataFrame(
        {
            "model": ["llama2-70b"] * 5 + ["bloom-176b", "llama2-70b"],
            "hardware": ["a100-80gb"] * 6 + ["h100-80gb-pcap"],
            "tensor_parallel": 4, "prompt_size": 512, "batch_size": [1, 1, 1, 4, 8, 1, 1], "token_size": 128,
            "prompt_time": [100.0, 120.0, 900.0, 500.0, 90.0, 1.0, 1.0], "token_time": 45.0,
        }
    ).to_csv(path, index=False)  # fmt: skip
    return path


def test_rows_are_medians_of_batches_that_were_computed(table):
    rows = read_splitwise(table)
    assert rows[["batch_size", "prompt_time"]].values.tolist() == [[1, 120], [4, 500]]
    assert set(rows["model"]) == {"llama-2-70b"}


def test_prompts_are_one_pass_and_tokens_one_half_way(table):
    found = predict_splitwise(table)
    overrides = {"model": "llama-2-70b", "fidelity": "calibrated", "deployment.tensor_parallel": 4}
    cost = CostModel(load_scenario("llama-8b-chat", overrides))
    passes = [cost.batch(512, 0), cost.batch(1, 512 + 64)]
    passes += [cost.batch(512, 0, sequences=4), cost.batch(1, 512 + 64, sequences=4)]
    assert found["predicted_s"].tolist() == [float(cost.pass_s(batch)) for batch in passes]
    assert found["measured_s"].tolist() == [0.12, 0.045, 0.5, 0.045]
    (section,) = splitwise_checks(table, lambda function, items: list(map(function, items)))
    assert section.table is not None
    assert section.table["rows"].tolist() == [1, 1, 1, 1]


def test_a_table_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("model,hardware\n", encoding="utf-8")
    with pytest.raises(SpecError, match="found no tensor_parallel, prompt_size"):
        read_splitwise(path)
