"""DeepSeek-V2, V3 and V3.2, Kimi-K2 and GLM-5: latent attention, routed and shared experts, perhaps an indexer.

Latent attention: DeepSeek-V2, arXiv 2405.04434. ``num_key_value_heads`` and ``head_dim`` mean nothing here and
are not read. Layers for multi-token prediction (``num_nextn_predict_layers``) are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.decoder import FULL, INDEXED, NORMS, decoder, routed
from ctxsim.spec.model import LatentAttention, Layer, Matrix, ModelSpec

INDEX_SCALE_GROUP = 128
INDEX_SCALE_BYTES = 4
"""An indexer key is kept as fp8 with one float32 scale every 128 values (vLLM's DeepSeek sparse attention)."""

_INDEXER_LETTERS = {"F": "full", "S": "shared"}


def deepseek_v2(reader: ConfigReader) -> ModelSpec:
    """Routers without a correction bias."""
    return _latent_decoder(reader, [_latent(reader, None)] * _dense_kinds(reader), router_biases=0)


def deepseek_v3(reader: ConfigReader) -> ModelSpec:
    """Routers with one correction bias an expert; Kimi-K2 is read the same way."""
    mixers = [_latent(reader, None)] * _dense_kinds(reader)
    return _latent_decoder(reader, mixers, router_biases=reader.integer("num_experts"))


def sparse_attention(reader: ConfigReader) -> ModelSpec:
    """V3 whose layers attend to the tokens an indexer picks (DeepSeek-V3.2, GLM-5).

    A layer whose indexer is ``shared`` reuses the choice of an earlier one: no indexer weights, no indexer keys.
    """
    reader.layer_kinds((INDEXED,), lambda i: INDEXED)
    mixers = {
        "full": _latent(reader, _full_indexer(reader)),
        "shared": _latent(reader, _Indexer(reader.integer("index_topk"))),
    }
    biases = reader.integer("num_experts")
    return _latent_decoder(reader, [mixers[kind] for kind in _indexer_kinds(reader)], router_biases=biases)


@dataclass(frozen=True)
class _Indexer:
    """The part of a layer that picks tokens; without heads it picks none itself."""

    topk: int
    num_heads: int = 0
    head_dim: int = 0
    matrices: tuple[Matrix, ...] = ()

    @property
    def key_bytes(self) -> int:
        """Bytes of one token's indexer key with its scales."""
        return self.head_dim + -(-self.head_dim // INDEX_SCALE_GROUP) * INDEX_SCALE_BYTES


def _dense_kinds(reader: ConfigReader) -> int:
    """How many layers there are, all of them attending to the whole context."""
    return len(reader.layer_kinds((FULL,), lambda i: FULL))


def _full_indexer(reader: ConfigReader) -> _Indexer:
    """Queries from the compressed query, one key for all heads, one weight a head; every rank holds it whole."""
    hidden_size, query_rank = reader.integer("hidden_size"), reader.integer("q_lora_rank")
    heads, head_dim = reader.integer("index_n_heads"), reader.integer("index_head_dim")
    parameters = query_rank * heads * head_dim + hidden_size * (head_dim + heads)
    matrix = Matrix("indexer", parameters, max_shards=1)
    return _Indexer(reader.integer("index_topk"), heads, head_dim, (matrix,))


def _indexer_kinds(reader: ConfigReader) -> list[str]:
    """``full`` or ``shared`` for each layer: listed, or by a pattern of letters, or every so many layers."""
    listed = reader.words("indexer_types")
    pattern = reader.raw("index_topk_pattern")
    if listed is None and isinstance(pattern, str):
        listed = [_INDEXER_LETTERS.get(letter, letter) for letter in pattern]
    if listed is None:
        return [_scheduled_indexer(reader, i) for i in range(reader.num_layers())]
    unknown = next((word for word in listed if word not in _INDEXER_LETTERS.values()), None)
    if unknown is not None:
        reader.unknown_word("indexer_types", unknown, ("full", "shared"))
        return ["full"] * reader.num_layers()
    return reader.per_layer("indexer_types", listed)


def _scheduled_indexer(reader: ConfigReader, i: int) -> str:
    """The first ``index_skip_topk_offset`` layers full, then one in ``index_topk_freq``, that layer included."""
    offset, frequency = reader.integer("index_skip_topk_offset"), reader.integer("index_topk_freq")
    return "shared" if max(i - offset + 1, 0) % frequency else "full"


def _latent(reader: ConfigReader, indexer: _Indexer | None) -> LatentAttention:
    """Down-projections that every rank computes whole, up-projections split by heads, and the indexer."""
    heads = reader.integer("num_attention_heads")
    kv_rank, rope_dim = reader.integer("kv_lora_rank"), reader.integer("qk_rope_head_dim")
    nope_dim, value_dim = reader.integer("qk_nope_head_dim"), reader.integer("v_head_dim")
    return LatentAttention(
        num_heads=heads,
        kv_lora_rank=kv_rank,
        qk_rope_head_dim=rope_dim,
        qk_nope_head_dim=nope_dim,
        v_head_dim=value_dim,
        matrices=(
            *_down_and_query(reader, heads * (nope_dim + rope_dim), kv_rank + rope_dim),
            blocks.projection("mla_kv_up", kv_rank, heads * (nope_dim + value_dim), max_shards=heads),
            blocks.projection(
                "attention_out",
                heads * value_dim,
                reader.integer("hidden_size"),
                bias=reader.flag("attention_bias"),
                cut="inputs",
            ),
            *(indexer.matrices if indexer else ()),
        ),
        index_topk=indexer.topk if indexer else None,
        index_num_heads=indexer.num_heads if indexer else 0,
        index_head_dim=indexer.head_dim if indexer else 0,
        index_key_bytes=indexer.key_bytes if indexer else 0,
    )


def _down_and_query(reader: ConfigReader, query_width: int, latent_width: int) -> tuple[Matrix, Matrix]:
    """The down-projections and the query projection; a null ``q_lora_rank`` means queries are not compressed."""
    hidden_size, bias = reader.integer("hidden_size"), reader.flag("attention_bias")
    query_rank = reader.optional_integer("q_lora_rank")
    down_width = latent_width + (query_rank or 0)
    return (
        blocks.projection("mla_down", hidden_size, down_width, bias=bias, max_shards=1),
        blocks.projection("mla_up", query_rank or hidden_size, query_width),
    )


def _latent_decoder(reader: ConfigReader, mixers: list[LatentAttention], *, router_biases: int) -> ModelSpec:
    sparse, dense = _sparse(reader, router_biases), _dense(reader)
    layers = [
        Layer(mixer, sparse if is_sparse else dense, _norm_parameters(reader, mixer))
        for mixer, is_sparse in zip(mixers, _sparse_layers(reader), strict=False)
    ]
    return decoder(reader, layers)


def _norm_parameters(reader: ConfigReader, mixer: LatentAttention) -> int:
    """Two layer norms, one over each compressed vector, and the indexer's key norm (weight and bias)."""
    query_rank = reader.optional_integer("q_lora_rank") or 0
    return NORMS * reader.integer("hidden_size") + query_rank + mixer.kv_lora_rank + 2 * mixer.index_head_dim


def _sparse_layers(reader: ConfigReader) -> list[bool]:
    """Which layers have experts: ``mlp_layer_types``, or all behind the leading dense ones by ``moe_layer_freq``."""
    count, kinds = reader.num_layers(), reader.words("mlp_layer_types")
    if kinds is not None:
        unknown = next((kind for kind in kinds if kind not in ("sparse", "dense")), None)
        if unknown is not None:
            reader.unknown_word("mlp_layer_types", unknown, ("dense", "sparse"))
        return [kind == "sparse" for kind in reader.per_layer("mlp_layer_types", kinds)]
    dense, frequency = reader.integer("first_k_dense_replace", minimum=0), reader.raw("moe_layer_freq")
    if isinstance(frequency, list):
        listed = reader.per_layer("moe_layer_freq", [str(flag) for flag in frequency])
        return [i >= dense and flag in ("1", "True") for i, flag in enumerate(listed)]
    every = reader.integer("moe_layer_freq")
    return [i >= dense and i % every == 0 for i in range(count)]


def _sparse(reader: ConfigReader, router_biases: int) -> tuple[Matrix, ...]:
    hidden_size, width = reader.integer("hidden_size"), reader.integer("moe_intermediate_size")
    shared = reader.integer("num_shared_experts", minimum=0)
    matrices = routed(reader, width, router_biases=router_biases)
    return (*matrices, blocks.shared_experts(hidden_size, shared * width)) if shared else matrices


def _dense(reader: ConfigReader) -> tuple[Matrix, ...]:
    return (blocks.mlp(reader.integer("hidden_size"), reader.integer("intermediate_size")),)
