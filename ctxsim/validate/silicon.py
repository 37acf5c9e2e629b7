"""Mean TTFT and TPOT of servers under closed-loop load, as tabled by model, engine, accelerators and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ctxsim.cost import CostModel, alone_s
from ctxsim.cost.calibrated.intervals import intervals
from ctxsim.errors import Fault, SpecError
from ctxsim.sim import simulate
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.units import parse

MODELS: dict[str, str] = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b",
    "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "deepseek-ai/DeepSeek-R1": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
}
"""Shipped models by the names of the table; others have no geometry here and are left out."""

DENSE = frozenset({"llama-3.1-8b", "llama-3.1-70b"})
WEIGHTS = {"fp8": "fp8", "fp8_block": "fp8", "int4_wo": "int4", "nvfp4": "int4"}
LEAST_LENGTH_RATIO = 0.8
"""Lengths are drawn evenly from this share of the nominal ones up to them: means of about 0.9, as measured."""

MILLISECOND_S = parse("1 ms", "seconds")
MOST_SEQUENCES = 512
"""No row has more clients, so that this limits nothing."""

MOST_RANKS = 8
"""Accelerators of one node: no row of several nodes says how they are linked."""

ROUNDS = 5
"""Requests of each client: enough to be past the start, where all prompts come at once."""

COLUMNS = (
    "backend", "model_path", "mode", "isl", "osl", "gemm_quant_mode", "batch_size", "tp_size", "moe_tp_size",
    "moe_ep_size",
)  # fmt: skip


def read_silicon(path: str | Path, hardware: str) -> pd.DataFrame:
    """The rows that a scenario can say: one pool of equal replicas of a model that is known here.

    Experts over more accelerators than attention means attention that is data-parallel, which no scenario can say.
    """
    table = pd.read_csv(path)
    if missing := [name for name in COLUMNS if name not in table]:
        message = f"expected the columns {', '.join(COLUMNS)}, found no {', '.join(missing)}"
        raise SpecError(Fault(str(path), None, None, "", message))
    known = table["model_path"].isin(MODELS) & (table["mode"] == "agg") & (table["system"] == hardware)
    one = {name: table[name].fillna(1) == 1 for name in ("pp_size", "attention_dp_size")}
    plain = one["pp_size"] & one["attention_dp_size"] & (table["tp_size"] <= MOST_RANKS)
    plain &= table["moe_tp_size"].fillna(1) * table["moe_ep_size"].fillna(1) <= table["tp_size"]
    rows = table[known & plain].copy()
    rows["model"] = rows["model_path"].map(MODELS)
    rows["dense"] = rows["model"].isin(DENSE)
    return rows.reset_index(drop=True)


def scenario_of(row: pd.Series, hardware: str, kv_dtype: str) -> Scenario:
    """The row's engine and load: as many clients as its concurrency, none of whom thinks."""
    overrides: dict[str, Any] = {
        "model": row["model"],
        "hardware": hardware,
        "fidelity": "calibrated",
        "deployment.tensor_parallel": int(row["tp_size"]),
        "serving.weight_dtype": WEIGHTS.get(row["gemm_quant_mode"], "bf16"),
        # vLLM's default for a server on an accelerator with more than 70 GiB.
        "serving.max_num_batched_tokens": 8192,
        "serving.max_num_seqs": max(MOST_SEQUENCES, int(row["batch_size"])),
        "serving.kv_dtype": kv_dtype,
        "serving.enable_prefix_caching": False,
        "workload": _workload(row),
        "run.warmup": "none",
        "slo": {},
    }
    return load_scenario("llama-8b-chat", overrides)


def predict_silicon(row: pd.Series, hardware: str, kv_dtype: str) -> list[dict[str, Any]]:
    """Measured and predicted means of a row, as rows of a frame: one for TTFT and one for TPOT.

    The table does not say in which format KV was kept: ``kv_dtype`` is what is supposed.
    """
    scenario = scenario_of(row, hardware, kv_dtype)
    summary, bands = simulate(scenario).summary, band_ratios(scenario, row)
    about = {name: row[name] for name in ("model", "backend", "isl", "osl", "batch_size", "dense")}
    return [
        about
        | {
            "tp_size": int(row["tp_size"]),
            "kv_dtype": kv_dtype,
            "latency": latency,
            "measured_s": row[f"silicon_{latency}_ms"] * MILLISECOND_S,
            "predicted_s": summary[f"{latency}_s"]["mean"],
            "band_ratio": bands[latency],
        }
        for latency in ("ttft", "tpot")
    ]


def band_ratios(scenario: Scenario, row: pd.Series) -> dict[str, float]:
    """Half-widths of bands of 90 % of TTFT and TPOT, relative, from the errors of the fits behind a closed form.

    ttft = a prompt + a step; tpot = a step + (clients - 1) prompts / output tokens, since between two tokens of one
    client each of the others brings in so much of its prompts.
    """
    clients, mean = int(row["batch_size"]), (1 + LEAST_LENGTH_RATIO) / 2
    prompt, output = round(mean * row["isl"]), mean * row["osl"]

    def outcome(scenario: Scenario) -> dict[str, float]:
        cost = CostModel(scenario)
        prompt_s = alone_s(cost.law, cost.spans, prompt, 0, scenario.serving.max_num_batched_tokens)
        step_s = cost.pass_s(cost.batch(1, prompt + output / 2, sequences=clients))
        return {"ttft": prompt_s + step_s, "tpot": step_s + (clients - 1) * prompt_s / output}

    known = outcome(scenario)
    found = intervals(scenario, int(row["isl"] + row["osl"]), known, outcome)
    return {latency: found[latency][1] / seconds - 1 for latency, seconds in known.items()}


def _workload(row: pd.Series) -> dict[str, Any]:
    clients = int(row["batch_size"])
    return {
        "kind": "requests",
        "prompt_tokens": _length(row["isl"]),
        "output_tokens": _length(row["osl"]),
        "arrival": {"kind": "closed", "users": clients, "think_time": "0 s"},
        "num_requests": ROUNDS * clients,
    }


def _length(nominal: float) -> dict[str, Any]:
    return {"kind": "uniform", "min": int(LEAST_LENGTH_RATIO * nominal), "max": int(nominal)}
