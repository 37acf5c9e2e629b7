"""Shapes that real models have: weight matrices and attention heads, read from the shipped models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxsim.spec.families.blocks import GATED
from ctxsim.spec.model import Attention, Layer, ModelSpec
from ctxsim.spec.models import load_model

GEMM_MODELS = ("llama-3.1-8b", "llama-3.1-70b", "yi-34b-200k", "qwen3-8b", "qwen3-32b")
ATTENTION_MODELS = (*GEMM_MODELS, "llama-2-7b", "gpt-oss-20b", "qwen3-next-80b-a3b")
"""Heads of 64, 128 and 256; 1 to 16 query heads a KV head."""

SHARDS = (1, 2, 4, 8)
"""Over how many devices tensor parallelism cuts a layer."""

SQUARES = tuple(2**i for i in range(7, 13))
"""Widths of square matrices beside those of the models, down to what a small geometry has."""

SMALL_HEADS = ((8, 2, 64), (16, 16, 64))
"""Query heads, KV heads and head size of small geometries."""


def gemm_shapes_of(models: Sequence[str]) -> list[tuple[int, int]]:
    """Distinct (n, k) of these models' matrices, whole, ascending in weights."""
    return _ascending({matrix for name in models for matrix in _matrices(load_model(name), 1)})


def head_shapes_of(models: Sequence[str]) -> list[tuple[int, int, int]]:
    """Distinct (query heads, KV heads, head size) of these models, whole, ascending in query heads."""
    found = {mixer for name in models for mixer in _attentions(load_model(name))}
    return sorted({(mixer.num_heads, mixer.num_kv_heads, mixer.qk_head_dim) for mixer in found})


def gemm_shapes() -> list[tuple[int, int]]:
    """Distinct (n, k): outputs and inputs of every dense matrix on one device, ascending in weights."""
    shapes = {(width, width) for width in SQUARES}
    for name in GEMM_MODELS:
        model = load_model(name)
        shapes |= {cut for shards in SHARDS for cut in _matrices(model, shards)}
    return _ascending(shapes)


def head_shapes() -> list[tuple[int, int, int]]:
    """Distinct (query heads, KV heads, head size) of one device, ascending in query heads."""
    shapes = set(SMALL_HEADS)
    for name in ATTENTION_MODELS:
        for mixer in _attentions(load_model(name)):
            shapes |= {
                (mixer.num_heads // shards, mixer.num_kv_heads // shards, mixer.qk_head_dim)
                for shards in SHARDS
                if mixer.num_kv_heads % shards == 0
            }
    return sorted(shapes)


def _ascending(shapes: set[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))


def norm_widths() -> list[int]:
    """Distinct hidden sizes, ascending."""
    return sorted({load_model(name).hidden_size for name in GEMM_MODELS} | set(SQUARES))


def _attentions(model: ModelSpec) -> Iterator[Attention]:
    return (layer.mixer for layer in model.layer_counts if isinstance(layer.mixer, Attention))


def _matrices(model: ModelSpec, shards: int) -> Iterator[tuple[int, int]]:
    """(n, k) of queries, keys and values together, attention output, gate and up together, down, and head."""
    hidden = model.hidden_size
    for layer in model.layer_counts:
        if isinstance(layer.mixer, Attention):
            width = _weights(layer, "attention_out") // hidden
            yield _weights(layer, "qkv") // hidden // shards, hidden
            yield hidden, width // shards
        feed_forward = _weights(layer, "mlp") // GATED // hidden
        yield 2 * feed_forward // shards, hidden
        yield hidden, feed_forward // shards
    yield model.vocab_size // shards, hidden


def _weights(layer: Layer, operation: str) -> int:
    return sum(matrix.parameters for matrix in layer.matrices if matrix.operation == operation)
