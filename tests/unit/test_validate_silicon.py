"""Which rows of a table of servers a scenario can say, and what it says of them."""

from __future__ import annotations

import pandas as pd
import pytest

from ctxsim.cost import CostModel, alone_s
from ctxsim.errors import SpecError
from ctxsim.validate.silicon import COLUMNS, occupied_ratio, read_silicon, scenario_of

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


DENSE = pd.Series(
    {
        "model": "llama-3.1-8b", "isl": 1000, "osl": 200, "batch_size": 1, "tp_size": 1.0, "gemm_quant_mode": "fp8",
        "silicon_ttft_ms": 0.0, "silicon_tpot_ms": 0.0,
    }
)  # fmt: skip


def test_a_lone_client_at_the_kernels_own_times_is_busy_all_the_time():
    """Prompt, then 180 steps of mean length: what it computed is all of its time, and half of it at half the speed."""
    scenario = scenario_of(DENSE, "h200-sxm", "bf16")
    cost = CostModel(scenario)
    prompt_s = alone_s(cost.law, cost.spans, 900, 0, 8192)
    step_s = float(cost.pass_s(cost.batch(1, 900 + 90)))
    times = {"silicon_ttft_ms": 1000 * (prompt_s + step_s), "silicon_tpot_ms": 1000 * step_s}
    whole = occupied_ratio(scenario, pd.Series({**DENSE, **times}))
    assert whole == pytest.approx(1 + prompt_s / (prompt_s + 180 * step_s), rel=1e-9)
    twice = {name: 2 * value for name, value in times.items()}
    assert occupied_ratio(scenario, pd.Series({**DENSE, **twice})) == pytest.approx(whole / 2, rel=1e-9)
