"""Readers of Vidur's A100 profiles (medians in ms) into our frames, with shapes from the geometry of the models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from ctxsim.calibrate.frames import framed, joined, select
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.model import Attention
from ctxsim.spec.models import load_model
from ctxsim.units import parse

MODELS = {"Meta-Llama-3-8B": "llama-3.1-8b", "Meta-Llama-3-70B": "llama-3.1-70b"}
"""Vidur's folder names and our models of the same layers."""

GEMMS = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
"""Vidur's operations that are matrix products."""

ELEMENTWISE = {
    "emb": "embedding",
    "input_layernorm": "norm",
    "post_attention_layernorm": "norm",
    "attn_rope": "rotary",
    "mlp_act": "activation",
    "add": "add",
}
"""Vidur's operations that only move activations, and the variants of our fits."""

HOST_STEPS = {
    "schedule": "schedule",
    "sampler_e2e": "sample",
    "prepare_inputs_e2e": "prepare_inputs",
    "process_model_outputs": "process_outputs",
}
"""Vidur's steps of the host, and the variants of our fits."""

_MS = parse("1 ms", "seconds")
_HALF_BYTES = 2


def read_layers(folder: Path, model: str) -> pd.DataFrame:
    """All operations of one layer of a model: matrix products and elementwise ones; ``shards`` and ``operation`` too.

    folder: Vidur's; model: a name of ours. Repeats are kept, as medians of repeated runs.
    """
    label = next(theirs for theirs, ours in MODELS.items() if ours == model)
    table = _read(folder, f"a100/meta-llama/{label}/mlp.parquet")
    names = {"num_tokens": "tokens", "num_tensor_parallel_workers": "shards"}
    sizes = select(table, names, label).astype(float)
    parts = []
    for operation in (*GEMMS, *ELEMENTWISE):
        seconds = select(table, {f"time_stats.{operation}.median": "seconds"}, label)["seconds"] * _MS
        rows = sizes.assign(operation=operation, seconds=seconds)
        parts.append(rows.groupby(["operation", "tokens", "shards"], as_index=False).median())
    rows = joined(parts)
    return joined([_gemms(rows, model), _elementwise(rows, model)])


def read_layer_fits(folder: Path) -> pd.DataFrame:
    """The operations of both models' layers, as one frame for fits."""
    rows = joined([read_layers(folder, model) for model in MODELS.values()])
    return framed(rows.drop(columns=["operation", "shards", "tokens"]))


def read_all_reduce(folder: Path) -> pd.DataFrame:
    """All-reduce within one node, by bytes; variant nccl."""
    names = {
        "size": "moved_bytes", "num_workers": "accelerators", "devices_per_node": "on_node",
        "time_stats.all_reduce.median": "seconds",
    }  # fmt: skip
    rows = select(_read(folder, "network/a100_dgx/all_reduce.parquet"), names, "all_reduce")
    rows = rows[rows["accelerators"] == rows["on_node"]]
    return framed(rows.assign(seconds=rows["seconds"] * _MS), family="all_reduce", variant="nccl", dtype="bf16")


def read_host(folder: Path) -> pd.DataFrame:
    """Steps of an engine's host by sequences of an iteration, of several models; a variant for each step."""
    table = _read(folder, "cpu_overheads/a100.parquet")
    parts = []
    for step, variant in HOST_STEPS.items():
        names = {"batch_size": "sequences", "model_name": "model", f"{step}_median": "seconds"}
        rows = select(table, names, "cpu_overheads")
        parts.append(rows.assign(seconds=rows["seconds"] * _MS, variant=variant))
    return framed(joined(parts), family="host")


def _gemms(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = rows[rows["operation"].isin(GEMMS)]
    shapes = {operation: _shape(operation, model) for operation in GEMMS}
    n = [shapes[operation](shards)[0] for operation, shards in zip(rows["operation"], rows["shards"], strict=True)]
    k = [shapes[operation](shards)[1] for operation, shards in zip(rows["operation"], rows["shards"], strict=True)]
    return rows.assign(family="gemm", variant="bf16", dtype="bf16", m=rows["tokens"], n=n, k=k)


def _elementwise(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = rows[rows["operation"].isin(list(ELEMENTWISE))]
    moved = [
        tokens * _HALF_BYTES * _values(operation, model, shards)
        for operation, tokens, shards in zip(rows["operation"], rows["tokens"], rows["shards"], strict=True)
    ]
    variant = rows["operation"].map(ELEMENTWISE)
    return rows.assign(family="elementwise", variant=variant, dtype="bf16", moved_bytes=moved)


def _shape(operation: str, model: str) -> Callable[[float], tuple[float, float]]:
    """(n, k) of a product by the number of shards."""
    hidden, attention, feed_forward = _geometry(model)
    query = attention.num_heads * attention.qk_head_dim
    keys_and_values = 2 * attention.num_kv_heads * attention.qk_head_dim
    shapes: dict[str, Callable[[float], tuple[float, float]]] = {
        "attn_pre_proj": lambda shards: ((query + keys_and_values) / shards, hidden),
        "attn_post_proj": lambda shards: (hidden, query / shards),
        "mlp_up_proj": lambda shards: (2 * feed_forward / shards, hidden),
        "mlp_down_proj": lambda shards: (hidden, feed_forward / shards),
    }
    return shapes[operation]


def _values(operation: str, model: str, shards: float) -> float:
    """Values that one token reads and writes in an elementwise operation."""
    hidden, attention, feed_forward = _geometry(model)
    heads = attention.num_heads + attention.num_kv_heads
    match ELEMENTWISE[operation]:
        case "rotary":
            return 2 * heads * attention.qk_head_dim / shards
        case "activation":
            return 3 * feed_forward / shards
        case "add":
            return 3 * hidden
        case _:
            return 2 * hidden


@cache
def _geometry(model: str) -> tuple[int, Attention, int]:
    """Hidden size, attention, and inputs of the down projection."""
    spec = load_model(model)
    layer = spec.layers[0]
    assert isinstance(layer.mixer, Attention)
    (mlp,) = (matrix for matrix in layer.feed_forward if matrix.operation == "mlp")
    return spec.hidden_size, layer.mixer, mlp.parameters // (3 * spec.hidden_size)


def _read(folder: Path, name: str) -> pd.DataFrame:
    """A table of the folder; raises SpecError where it is not there."""
    path = folder / name
    if not path.is_file():
        message = f"expected the table {name}, found none; give the folder of Vidur's profiles"
        raise SpecError(Fault(str(folder), None, None, "", message))
    return pd.read_parquet(path)
