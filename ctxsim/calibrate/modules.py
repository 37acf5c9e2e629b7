"""Readers of aiconfigurator's tables of whole latent and sparse attention modules, and their models' geometry."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ctxsim.calibrate.frames import framed
from ctxsim.calibrate.tables import read_table
from ctxsim.cost.compiling import LATENT_UP_PROJECTION
from ctxsim.cost.curves.latent import ATTENTION, MODULE
from ctxsim.spec.model import LatentAttention
from ctxsim.spec.models import load_model

_MODELS = {"deepseek-ai/DeepSeek-V3.2": "deepseek-v3.2", "zai-org/GLM-5": "glm-5"}
_NAMES = {"num_heads": "heads", "batch_size": "batch", "kv_cache_dtype": "kv_dtype"}
_DTYPES = {"bfloat16": "bf16", "fp8": "fp8"}
_GEMM_DTYPES = {"bfloat16": "bf16", "fp8_block": "fp8"}


def read_latent_decode(folder: Path) -> pd.DataFrame:
    """Latent attention of DeepSeek-V3, one new token a sequence; variants as of prefill.

    Of attention alone, a single head is another kernel's (decode_attention_fwd_normal of vLLM), and no model's of ours.
    """
    rows = _latent(folder, "generation", "step", "past_tokens")
    rows = rows[(rows["what"] == MODULE) | (rows["heads"] > 1)]
    return _framed(rows, "latent_decode", "deepseek-v3", new_tokens=1.0)


def read_latent_prefill(folder: Path) -> pd.DataFrame:
    """Latent attention of DeepSeek-V3, whole prompts.

    Variants by what a time includes (module, or attention with the up-projection alone), the format of the latent rows
    and that of the weights (module-fp8-bf16).
    """
    return _framed(_latent(folder, "context", "isl", "new_tokens"), "latent_prefill", "deepseek-v3")


def read_sparse(folder: Path) -> pd.DataFrame:
    """DeepSeek sparse attention of two models, whole modules; variants by phase and formats of rows and weights."""
    parts = []
    for phase in ("context", "generation"):
        names = {**_NAMES, "model": "model", "gemm_type": "gemm_type", "isl": "new_tokens", "step": "past_tokens"}
        rows = read_table(folder, f"sparse_attention/*/*/dsa_{phase}_module_perf.parquet", names)
        what = "prefill" if phase == "context" else "decode"
        for label, model in _MODELS.items():
            parts.append(_framed(rows[rows["model"] == label].assign(what=what), "sparse_attention", model))
    return pd.concat(parts, ignore_index=True)


def _latent(folder: Path, phase: str, length: str, name: str) -> pd.DataFrame:
    """The table of whole modules where there is one, else that of the attention operation, with products in bf16."""
    names = {**_NAMES, length: name}
    if any(folder.glob(f"mla/*/*/mla_{phase}_module_perf.parquet")):
        rows = read_table(folder, f"mla/*/*/mla_{phase}_module_perf.parquet", {**names, "gemm_type": "gemm_type"})
        return rows.assign(what=MODULE)
    rows = read_table(folder, f"mla/*/*/{phase}_mla_perf.parquet", names)
    return rows.assign(what=ATTENTION, gemm_type="bfloat16")


def _framed(rows: pd.DataFrame, family: str, model: str, **constant: float) -> pd.DataFrame:
    """The rows with the geometry of the model's attention."""
    mixer = load_model(model).layers[0].mixer
    assert isinstance(mixer, LatentAttention)
    kv_dtype, dtype = rows["kv_dtype"].map(_DTYPES), rows["gemm_type"].map(_GEMM_DTYPES)
    whole = not (rows["what"] == ATTENTION).any()
    return framed(
        rows.drop(columns=["what", "model", "gemm_type"], errors="ignore"),
        family=family,
        dtype=dtype,
        kv_dtype=kv_dtype,
        variant=rows["what"] + "-" + kv_dtype + "-" + dtype,
        latent_dim=mixer.kv_lora_rank,
        rope_dim=mixer.qk_rope_head_dim,
        key_dim=mixer.qk_nope_head_dim + mixer.qk_rope_head_dim,
        value_dim=mixer.v_head_dim,
        top_k=mixer.index_topk or 0,
        index_heads=mixer.index_num_heads,
        index_dim=mixer.index_head_dim,
        projection_weights=_weights(mixer, rows["heads"], whole),
        **constant,
    )


def _weights(mixer: LatentAttention, heads: pd.Series, whole: bool) -> pd.Series:
    """Weights of the projections that so many heads have; matrices that are not cut by heads count in full."""
    matrices = [m for m in mixer.matrices if whole or m.operation == LATENT_UP_PROJECTION]
    fixed = sum(matrix.parameters for matrix in matrices if matrix.max_shards == 1)
    cut = sum(matrix.parameters for matrix in matrices if matrix.max_shards != 1)
    return fixed + cut * heads / mixer.num_heads
