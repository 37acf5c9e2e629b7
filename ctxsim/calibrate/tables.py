"""Readers of NVIDIA aiconfigurator's kernel tables (latency in ms, message sizes in elements) into our frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ctxsim.calibrate.frames import framed, select
from ctxsim.cost.curves.experts import EXPERT_FORMATS
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.calibration import WINDOWED
from ctxsim.units import parse

MOST_HEAD_DIM = 256
"""Larger heads are other kernels', and no model's of ours."""

CUSTOM_BYTES = parse("8 MiB", "bytes")
"""From this message on vLLM's custom all-reduce hands over to NCCL."""

_LATENCY = parse("1 ms", "seconds")
_HALF_BYTES = 2
_DTYPES = {"bfloat16": "bf16", "half": "bf16", "fp8": "fp8", "fp8_block": "fp8"}
_MXFP4 = "w4a16_mxfp4"
_EXPERTS = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8_block", "int4_wo": "int4", _MXFP4: "mxfp4"}
_DISTRIBUTION = "power_law_1.01"
_ATTENTION = {"num_heads": "heads", "batch_size": "batch"}
_KV_HEADS = {"num_key_value_heads": "kv_heads", "head_dim": "head_dim"}


def read_gemm(folder: Path) -> pd.DataFrame:
    """Matrix products; variants bf16, fp8 and fp8_block (scales for blocks of the weights)."""
    rows = read_table(folder, "gemm/*/*/gemm_perf.parquet", {"gemm_dtype": "variant", "m": "m", "n": "n", "k": "k"})
    rows = rows[rows["variant"].isin(["bfloat16", "fp8", "fp8_block"])]
    dtype = rows["variant"].map(_DTYPES)
    return framed(rows, family="gemm", dtype=dtype, variant=rows["variant"].replace("bfloat16", "bf16"))


def read_decode(folder: Path) -> pd.DataFrame:
    """Decode attention without a window; a variant for each format of keys and values and head size (bf16-128)."""
    names = {**_ATTENTION, **_KV_HEADS, "kv_cache_dtype": "kv_dtype", "step": "past_tokens"}
    rows = _unwindowed(read_table(folder, "attention/*/*/generation_attention_perf.parquet", names, "window_size"))
    return _attention(rows, "decode_attention", new_tokens=1.0)


def read_prefill(folder: Path) -> pd.DataFrame:
    """Prefill attention without a window; variants as of decode."""
    names = {**_ATTENTION, **_KV_HEADS, "kv_cache_dtype": "kv_dtype", "isl": "new_tokens"}
    rows = _unwindowed(read_table(folder, "attention/*/*/context_attention_perf.parquet", names, "window_size"))
    return _attention(rows, "prefill_attention")


def read_windowed_decode(folder: Path) -> pd.DataFrame:
    """Decode attention with a sliding window that is full, as context of the window; variants like bf16-128-windowed.

    A window that is not yet full is attention to the whole context.
    """
    names = {**_ATTENTION, **_KV_HEADS, "kv_cache_dtype": "kv_dtype", "step": "past_tokens"}
    rows = _windowed(folder, "generation", names)
    rows = rows[rows["past_tokens"] >= rows["window_tokens"]]
    return _attention(rows.assign(past_tokens=rows["window_tokens"] - 1), "decode_attention", WINDOWED, new_tokens=1.0)


def read_windowed_prefill(folder: Path) -> pd.DataFrame:
    """Prefill attention with a sliding window; variants as of decode."""
    names = {**_ATTENTION, **_KV_HEADS, "kv_cache_dtype": "kv_dtype", "isl": "new_tokens"}
    return _attention(_windowed(folder, "context", names), "prefill_attention", WINDOWED)


def read_all_reduce(folder: Path) -> pd.DataFrame:
    """All-reduce of two-byte values; variants nccl, and custom (vLLM's own kernels, in a CUDA graph)."""
    names = {"message_size": "elements", "num_gpus": "accelerators"}
    nccl = read_table(folder, "comm/nccl/*/nccl_perf.parquet", {**names, "op_name": "operation", "nccl_dtype": "dtype"})
    nccl = nccl[(nccl["operation"] == "all_reduce") & (nccl["dtype"] == "half")].assign(variant="nccl")
    custom = read_table(folder, "comm/vllm/*/custom_allreduce_perf.parquet", {**names, "backend": "backend"})
    custom = custom[custom["backend"] == "vllm_graph"].assign(variant="custom")
    custom = custom[custom["elements"] * _HALF_BYTES < CUSTOM_BYTES]
    rows = pd.concat([nccl, custom])
    return framed(rows, family="all_reduce", dtype="bf16", moved_bytes=rows["elements"] * float(_HALF_BYTES))


def read_experts(folder: Path) -> pd.DataFrame:
    """Routed experts; variants by number format of the weights. Tokens over experts by a mild power law.

    mxfp4: the kernels of gpt-oss, which are not those of other models. Experts spread over groups of accelerators are
    left aside: they were timed on the busiest group, and no scenario spreads them.
    """
    names = {
        "moe_dtype": "variant", "num_tokens": "tokens", "hidden_size": "hidden", "inter_size": "intermediate",
        "topk": "top_k", "num_experts": "experts", "moe_tp_size": "shards", "moe_ep_size": "groups",
        "distribution": "distribution", "kernel_source": "kernel",
    }  # fmt: skip
    rows = read_table(folder, "moe/*/*/moe_perf.parquet", names)
    rows = rows[rows["variant"].isin(list(_EXPERTS)) & (rows["distribution"] == _DISTRIBUTION)]
    rows = rows[(rows["variant"] != _MXFP4) | rows["kernel"].str.contains("gptoss")]
    rows = rows[rows["groups"] == 1]
    variant = rows["variant"].map(_EXPERTS)
    return framed(
        rows,
        family="experts",
        dtype=variant.map({name: dtype for name, (dtype, _) in EXPERT_FORMATS.items()}),
        variant=variant,
        intermediate=rows["intermediate"] / rows["shards"],
        local_experts=rows["experts"],
    )


def read_linear(folder: Path) -> pd.DataFrame:
    """Gated delta rule: variants chunked (prompts) and recurrent (one token)."""
    names = {
        "kernel_source": "kernel", "phase": "phase", "batch_size": "batch", "seq_len": "new_tokens",
        "num_k_heads": "kv_heads", "num_v_heads": "heads", "head_k_dim": "key_dim", "head_v_dim": "value_dim",
    }  # fmt: skip
    rows = read_table(folder, "linear_attention/*/*/gdn_perf.parquet", names)
    rows = rows[rows["kernel"].str.contains("gated_delta_rule")]
    variant = np.where(rows["phase"] == "context", "chunked", "recurrent")
    return framed(rows, family="linear_attention", dtype="bf16", variant=variant)


def _attention(rows: pd.DataFrame, family: str, suffix: str = "", **constant: float) -> pd.DataFrame:
    kv_dtype = rows["kv_dtype"].map(_DTYPES)
    variant = kv_dtype + "-" + rows["head_dim"].astype(str) + suffix
    return framed(rows, family=family, dtype="bf16", kv_dtype=kv_dtype, variant=variant, **constant)


def _unwindowed(rows: pd.DataFrame) -> pd.DataFrame:
    if "window_size" in rows:
        rows = rows[rows["window_size"] == 0]
    return rows[rows["head_dim"] <= MOST_HEAD_DIM]


def _windowed(folder: Path, phase: str, names: Mapping[str, str]) -> pd.DataFrame:
    names = {**names, "window_size": "window_tokens"}
    rows = read_table(folder, f"attention/*/*/{phase}_attention_perf.parquet", names)
    return rows[(rows["window_tokens"] > 0) & (rows["head_dim"] <= MOST_HEAD_DIM)]


def read_table(folder: Path, pattern: str, names: Mapping[str, str], *optional: str) -> pd.DataFrame:
    """The one table of that pattern under our names, with seconds; raises SpecError where it is not there."""
    found = sorted(folder.glob(pattern))
    if not found:
        message = f"expected a table {pattern}, found none; give the folder of one device's kernel tables"
        raise SpecError(Fault(str(folder), None, None, "", message))
    rows = pd.read_parquet(found[-1])
    more = {name: name for name in optional if name in rows}
    rows = select(rows, {**names, **more, "latency": "seconds"}, found[-1].name)
    return rows.assign(seconds=rows["seconds"] * _LATENCY)
