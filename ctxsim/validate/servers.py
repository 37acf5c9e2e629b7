"""Servers on H200, as tabled by model, engine, accelerators and lengths, against simulations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ctxsim.validate.errors import error_row, error_table
from ctxsim.validate.page import Section
from ctxsim.validate.silicon import predict_silicon, read_silicon
from ctxsim.validate.targets import Target, at_most
from ctxsim.validate.workers import Spread

HARDWARE = "h200-sxm"
SYSTEM = "h200_sxm"
KV_DTYPES = ("fp8", "bf16")
MOST_TPOT_RATIO = 0.15
GROUPS = ("backend", "model", "kv_dtype", "latency")
BANDS = (
    "The band is that of a closed form of the same load: TPOT is a step of all clients and, between two tokens of one, "
    "its share of everyone else's prompts; TTFT is a prompt and a step. It follows the errors of fits alone, and not "
    "what no fit is of (the host, waiting)."
)
SERVERS = (
    "Mean TTFT and TPOT of vLLM and TensorRT-LLM servers on H200 under closed-loop load, simulated with kernels alone: "
    "nothing is fitted to these rows, and nothing is taken from the servers but model, tensor parallelism, number "
    "format of the weights, lengths and concurrency. The table does not say in which format KV was kept, so both are "
    "shown; with bf16 the 32 clients of 8,192 tokens on one accelerator would not fit (TTFT 3.1 s measured, 20 s "
    "predicted)."
)
OCCUPIED = (
    "From a row's own numbers follows how many requests it served a second: clients / (TTFT + (output - 1) x TPOT). "
    "Times what the kernels measured on the device take for a prompt, plus a step over TPOT, that is the share of its "
    "time that it must have computed. A row above 1 by more than its band computed more than the device can: prompts "
    "that were cached, shorter ones, or fewer clients than stated would explain it. Nothing simulated enters."
)
BY_RANKS = "The rows of vLLM again, by accelerators of one replica."
OTHERS = (
    "The same for models with experts, latent, sparse or linear attention; KV in fp8. They have no target. Not "
    "modelled: drafts of several tokens, experts spread over accelerators (the rows of Qwen3.5), checkpoints of which "
    "only the experts have four bits (Kimi-K2.5), what a host takes for each iteration and request (TTFT of short "
    "prompts), and products with scales for blocks. vLLM 0.12 takes 51 to 59 ms for a token of Qwen3-235B on two "
    "accelerators, with 4 clients as with 20: nothing that scales with work."
)


def server_checks(table: Path, spread: Spread) -> list[Section]:
    """The sections of a table of servers."""
    rows = read_silicon(table, SYSTEM)
    dense = _predicted(rows[rows["dense"]], KV_DTYPES, spread)
    others = _predicted(rows[~rows["dense"]], KV_DTYPES[:1], spread)
    return [*dense_sections(dense), Section("Servers on H200: other models", OTHERS, error_table(others, GROUPS))]


def dense_sections(found: pd.DataFrame) -> Iterator[Section]:
    """What the predictions of dense models say."""
    served = found[found["backend"] == "vllm"]
    words, targets = f"{SERVERS} {BANDS}", tuple(_targets(served))
    yield Section("Servers on H200: dense models", words, error_table(found, GROUPS), targets)
    yield Section("Servers on H200: what rows must have computed", OCCUPIED, _occupied_table(served))
    by_ranks = error_table(served, ["model", "kv_dtype", "latency", "tp_size"])
    yield Section("vLLM on H200 by tensor parallelism", BY_RANKS, by_ranks)


def _targets(served: pd.DataFrame) -> Iterator[Target]:
    tokens = served[served["latency"] == "tpot"]
    for kv_dtype, rows in tokens.groupby("kv_dtype", sort=False):
        what = f"vLLM servers on H200, dense models, KV taken as {kv_dtype}: MAPE of TPOT"
        yield at_most(f"{what}, all {len(rows)} rows", error_row(rows)["mape_ratio"], MOST_TPOT_RATIO)
        able = rows[_possible(rows)]
        words = f"{what}, the {len(able)} rows that the device can have computed"
        yield at_most(words, error_row(able)["mape_ratio"], MOST_TPOT_RATIO)


def _possible(rows: pd.DataFrame) -> pd.Series:
    """Whether the device can have computed what the rows say, as far as its kernels are known."""
    return rows["occupied_ratio"] <= 1 + rows["band_ratio"]


def _occupied_table(served: pd.DataFrame) -> pd.DataFrame:
    """Least, median and greatest share by model and KV format, and how many rows are above what can be."""
    tokens = served[served["latency"] == "tpot"]
    tokens = tokens.assign(impossible_rows=~_possible(tokens))
    groups = tokens.groupby(["model", "kv_dtype"], sort=True)
    shares = groups["occupied_ratio"].agg(["size", "min", "median", "max"])
    names = {"size": "rows", "min": "least_ratio", "median": "median_ratio", "max": "greatest_ratio"}
    return shares.rename(columns=names).join(groups["impossible_rows"].sum()).reset_index()


def _predicted(rows: pd.DataFrame, kv_dtypes: tuple[str, ...], spread: Spread) -> pd.DataFrame:
    jobs = [(row, kv_dtype) for kv_dtype in kv_dtypes for _, row in rows.iterrows()]
    return pd.DataFrame([latency for latencies in spread(_latencies, jobs) for latency in latencies])


def _latencies(job: tuple[pd.Series, str]) -> list[dict[str, Any]]:
    row, kv_dtype = job
    return predict_silicon(row, HARDWARE, kv_dtype)
