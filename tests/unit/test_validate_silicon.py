"""Which rows of a table of servers a scenario can say, and what it says of them."""

from __future__ import annotations

import pandas as pd
import pytest

from ctxsim.errors import SpecError
from ctxsim.validate.silicon import COLUMNS, read_silicon, scenario_of

PLAIN = {
    "backend": "vllm", "model_path": "Qwen/Qwen3-235B-A22B-FP8", "mode": "agg", "system": "h200_sxm", "isl": 1000,
    "osl": 100, "gemm_quant_mode": "fp8", "batch_size": 8.0, "tp_size": 4.0, "pp_size": 1.0, "attention_dp_size": None,
    "moe_tp_size": 4.0, "moe_ep_size": 1.0,
}  # fmt: skip


def table(tmp_path, *changes):
    path = tmp_path / "rows.csv"
    pd.DataFrame([PLAIN | change for change in changes]).to_csv(path, index=False)
    return path


def test_only_equal_replicas_of_known_models_are_read(tmp_path):
    others = (
        {"model_path": "someone/else"}, {"mode": "disagg"}, {"system": "b200_sxm"}, {"pp_size": 2.0},
        {"attention_dp_size": 8.0}, {"tp_size": 16.0, "moe_tp_size": 16.0},
        {"tp_size": 2.0},  # experts over four accelerators and attention over two: attention is data-parallel
    )  # fmt: skip
    rows = read_silicon(table(tmp_path, {}, *others, {"moe_tp_size": 1.0, "moe_ep_size": 4.0}), "h200_sxm")
    assert rows["moe_ep_size"].tolist() == [1.0, 4.0]
    assert set(rows["model"]) == {"qwen3-235b-a22b"}
    assert not rows["dense"].any()


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame([{name: PLAIN[name] for name in COLUMNS if name != "isl"}]).to_csv(path, index=False)
    with pytest.raises(SpecError, match="found no isl"):
        read_silicon(path, "h200_sxm")


def test_a_row_is_a_closed_loop_of_its_clients(tmp_path):
    (row,) = (row for _, row in read_silicon(table(tmp_path, {}), "h200_sxm").iterrows())
    of = scenario_of(row, "h200-sxm", "fp8")
    assert (of.model.name, of.deployment.tensor_parallel, of.serving.weight_dtype) == ("qwen3-235b-a22b", 4, "fp8")
    assert (of.calibration_name, of.workload.num_requests) == ("h200-sxm-vllm", 40)
