"""Reader of LLMServingSim's kernel tables (vLLM, one accelerator, times in us) into our frames.

The rows belong to tensor parallelism 1: 58.7 M weights of gate and up in 159 us are 1.47 TB/s, and a half of them would
be less than a third of the device's bandwidth.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ctxsim.calibrate.frames import framed, joined, select
from ctxsim.cost.calibrated.products import rank_products
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.model import Attention, ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.units import parse

MODEL = "llama-3.1-8b"
"""The model that was profiled."""

PRODUCTS = {
    "qkv_proj": "qkv",
    "o_proj": "attention_out",
    "gate_up_proj": "mlp",
    "down_proj": "mlp",
    "lm_head": "head",
}
"""Their layers that are matrix products, and our operations."""

ELEMENTWISE = {
    "embedding": "embedding",
    "final_layernorm": "norm",
    "rotary_emb": "rotary",
    "act_fn": "activation",
    "sampler": "sampling",
}
"""Their layers that only move activations, and the variants of our fits.

Of norms the last one alone: it adds the residual, as all but the first of a model do; ``layernorm`` is the mean of one
that does and one that does not, as a model of one layer has them.
"""

_US = parse("1 us", "seconds")
_HALF_BYTES = 2
_ATTENTION = {
    "prefill_chunk": "new_tokens",
    "kv_prefill": "past_tokens",
    "n_decode": "decodes",
    "kv_decode": "decode_tokens",
}


def read_gemm(folder: Path) -> pd.DataFrame:
    """Matrix products of a layer by tokens, and the output head by sequences; variant bf16."""
    model = load_model(MODEL)
    rows = _layers(folder)
    rows = rows[rows["layer"].isin(list(PRODUCTS))]
    shapes = [_shape(layer, model) for layer in rows["layer"]]
    rows = rows.assign(m=rows["rows"], n=[n for n, _ in shapes], k=[k for _, k in shapes])
    return framed(rows.drop(columns=["layer", "rows"]), family="gemm", variant="bf16", dtype="bf16")


def read_elementwise(folder: Path) -> pd.DataFrame:
    """Small kernels by bytes moved, each a variant; the sampler moves the logits of its sequences."""
    model = load_model(MODEL)
    rows = _layers(folder)
    rows = rows[rows["layer"].isin(list(ELEMENTWISE))]
    values = rows["layer"].map({layer: _values(layer, model) for layer in ELEMENTWISE})
    rows = rows.assign(variant=rows["layer"].map(ELEMENTWISE), moved_bytes=_HALF_BYTES * rows["rows"] * values)
    return framed(rows.drop(columns=["layer", "rows"]), family="elementwise", dtype="bf16")


def read_decode(folder: Path) -> pd.DataFrame:
    """Decode attention of batches that have no chunk of a prompt; variant bf16-128."""
    rows = _attention(folder)
    rows = rows[rows["new_tokens"] == 0]
    rows = rows.assign(batch=rows["decodes"], past_tokens=rows["decode_tokens"] - 1)
    return _framed(rows, "decode_attention", new_tokens=1.0)


def read_prefill(folder: Path) -> pd.DataFrame:
    """One chunk of a prompt after what is there of it, beside no decoding sequence; variant bf16-128."""
    rows = _attention(folder)
    return _framed(rows[rows["decodes"] == 0], "prefill_attention", batch=1.0)


def read_mixed(folder: Path) -> pd.DataFrame:
    """Decoding sequences beside one chunk: ``tokens`` of the chunk, ``beside_s`` it takes alone; variant bf16-128."""
    rows = _attention(folder)
    chunk = ["new_tokens", "past_tokens"]
    alone = rows.loc[rows["decodes"] == 0, [*chunk, "seconds"]].rename(columns={"seconds": "beside_s"})
    rows = rows[(rows["decodes"] > 0) & (rows["new_tokens"] > 0)].merge(alone, on=chunk)
    rows = rows.assign(batch=rows["decodes"], tokens=rows["new_tokens"], past_tokens=rows["decode_tokens"] - 1)
    return _framed(rows, "mixed_attention", new_tokens=1.0)


def _layers(folder: Path) -> pd.DataFrame:
    """Layer, rows (tokens or sequences) and seconds of everything but attention."""
    dense = select(_table(folder, "dense"), {"layer": "layer", "tokens": "rows", "time_us": "seconds"}, "dense")
    names = {"layer": "layer", "sequences": "rows", "time_us": "seconds"}
    rows = joined([dense, select(_table(folder, "per_sequence"), names, "per_sequence")])
    return rows.assign(seconds=rows["seconds"] * _US)


def _attention(folder: Path) -> pd.DataFrame:
    rows = select(_table(folder, "attention"), {**_ATTENTION, "time_us": "seconds"}, "attention")
    return rows.assign(seconds=rows["seconds"] * _US)


def _framed(rows: pd.DataFrame, family: str, **constant: float) -> pd.DataFrame:
    """Attention with the geometry of the model."""
    mixer = _mixer(load_model(MODEL))
    return framed(
        rows.drop(columns=["decodes", "decode_tokens"]),
        family=family,
        variant=f"bf16-{mixer.qk_head_dim}",
        dtype="bf16",
        kv_dtype="bf16",
        heads=mixer.num_heads,
        kv_heads=mixer.num_kv_heads,
        head_dim=mixer.qk_head_dim,
        **constant,
    )


def _shape(layer: str, model: ModelSpec) -> tuple[int, int]:
    """(n, k) of a product; of the two of the MLP the last is the down projection."""
    products = [product for product in rank_products(model, 1) if product.operation == PRODUCTS[layer]]
    product = products[-1 if layer == "down_proj" else 0]
    return product.outputs, product.inputs


def _values(layer: str, model: ModelSpec) -> int:
    """Values that a token, or a sequence in the sampler, reads and writes."""
    mixer, (_, down_inputs) = _mixer(model), _shape("down_proj", model)
    match ELEMENTWISE[layer]:
        case "rotary":
            return 2 * (mixer.num_heads + mixer.num_kv_heads) * mixer.qk_head_dim
        case "activation":
            return 3 * down_inputs
        case "sampling":
            return model.vocab_size
        case "norm":
            return 4 * model.hidden_size
        case _:
            return 2 * model.hidden_size


def _mixer(model: ModelSpec) -> Attention:
    mixer = model.layers[0].mixer
    assert isinstance(mixer, Attention)
    return mixer


def _table(folder: Path, name: str) -> pd.DataFrame:
    """A table of the folder; raises SpecError where it is not there."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        message = f"expected the table {path.name}, found none; give the folder of LLMServingSim's kernel tables"
        raise SpecError(Fault(str(folder), None, None, "", message))
    return pd.read_parquet(path)
