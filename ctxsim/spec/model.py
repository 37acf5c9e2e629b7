"""What a language model is to the cost model: weight matrices, layers, and how each layer keeps context."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ctxsim.spec.keeping import PLAIN, Keeping

AttentionKind = Literal["full", "sliding", "chunked"]
StateKind = Literal["linear", "ssm"]


@dataclass(frozen=True, slots=True)
class Product:
    """One matrix product: ``outputs`` x ``inputs`` weights, and the side on which tensor parallelism cuts them."""

    outputs: int
    inputs: int
    cut: Literal["outputs", "inputs"] = "outputs"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights that one operation multiplies each token with (several matrices of one operation may be summed).

    ``parameters`` counts all experts together; ``max_shards`` is into how many pieces tensor parallelism can
    cut it (None: any number, 1: every rank holds a full copy, n: at most n, as K and V by their heads). ``products``:
    the products that these weights are used in (of one expert), where their shapes are known. ``token_ratio``: the
    share of the tokens that are multiplied with them. ``table_bits``: where not 0, the weights are tables that replace
    those products: of 2^table_bits rows a token adds up one (MemoryFormer, arXiv 2411.12992).
    """

    operation: str
    parameters: int
    biases: int = 0
    max_shards: int | None = None
    quantized: bool = True
    experts: int = 1
    experts_per_token: int = 1
    products: tuple[Product, ...] = ()
    token_ratio: float = 1.0
    table_bits: int = 0

    @property
    def total_parameters(self) -> int:
        """Weights and biases of all experts."""
        return self.parameters + self.biases

    @property
    def active_parameters(self) -> int:
        """Weights and biases that one token touches."""
        of_experts = self.total_parameters * self.experts_per_token // self.experts
        return int((of_experts >> self.table_bits) * self.token_ratio)


@dataclass(frozen=True, slots=True)
class Attention:
    """Softmax attention over a KV cache: all of the context, a sliding window, or the current chunk.

    ``window_tokens``: the window (sliding) or the chunk (chunked); None for full attention. ``keeping``: what
    techniques change of that.
    """

    kind: AttentionKind
    num_heads: int
    num_kv_heads: int
    qk_head_dim: int
    v_head_dim: int
    matrices: tuple[Matrix, ...]
    window_tokens: int | None = None
    keeping: Keeping = PLAIN


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2): one latent row a token, shared by all heads.

    With ``index_topk`` an indexer (DeepSeek sparse attention) picks that many tokens to attend to; it keeps
    ``index_key_bytes`` a token of its own, whatever the KV dtype.
    """

    num_heads: int
    kv_lora_rank: int
    qk_rope_head_dim: int
    qk_nope_head_dim: int
    v_head_dim: int
    matrices: tuple[Matrix, ...]
    index_topk: int | None = None
    index_num_heads: int = 0
    index_head_dim: int = 0
    index_key_bytes: int = 0
    keeping: Keeping = PLAIN


@dataclass(frozen=True, slots=True)
class DeltaHeads:
    """Heads of a gated delta rule: each value head has a state of ``key_dim`` x ``value_dim`` values."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True)
class StateMixer:
    """A layer with a constant state per sequence instead of a KV cache: linear attention or a state-space model.

    ``state_bytes``: recurrent and convolution state of one sequence in one layer.
    ``state_flop_per_token``: update and read-out of the state, beside the matrices. ``delta``: the heads, where the
    state follows a gated delta rule.
    """

    kind: StateKind
    state_bytes: int
    state_flop_per_token: int
    matrices: tuple[Matrix, ...]
    delta: DeltaHeads | None = None


Mixer = Attention | LatentAttention | StateMixer


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: a mixer, its feed-forward matrices (mlp, router, experts, shared experts), its norms.

    ``all_reduces``: how often tensor parallelism sums activations over the ranks (1 where attention and
    feed-forward run in parallel on one input, else 2). ``last_token_only``: of a prompt only the last token passes the
    layer, as of the upper half of a decoder-decoder (YOCO, arXiv 2405.05254).
    """

    mixer: Mixer
    feed_forward: tuple[Matrix, ...]
    norm_parameters: int
    all_reduces: int = 2
    last_token_only: bool = False

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Every weight matrix of the layer."""
        return (*self.mixer.matrices, *self.feed_forward)

    def named(self, operation: str) -> str:
        """What the operation is called in this layer: one that few tokens pass is an operation of its own."""
        return f"{operation} last" if self.last_token_only else operation

    @property
    def keeps_kv(self) -> bool:
        """Whether the layer has a KV cache of its own."""
        return not isinstance(self.mixer, StateMixer) and self.mixer.keeping.stores


@dataclass(frozen=True)
class ModelSpec:
    """A model's geometry, read once from its configuration; hashable.

    ``layers``: one entry a layer, in order; equal layers are equal objects. ``embedding_parameters``: the input
    tables (token, position). ``head``: the output projection; with ``tied_head`` it is the input table and adds
    no parameters. ``defaulted_fields``: configuration keys that were absent and took their family's default.
    """

    name: str
    family: str
    hidden_size: int
    vocab_size: int
    max_context_tokens: int
    layers: tuple[Layer, ...]
    embedding_parameters: int
    head: Matrix
    tied_head: bool
    final_norm_parameters: int
    defaulted_fields: tuple[str, ...] = ()

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return len(self.layers)

    @cached_property
    def layer_counts(self) -> dict[Layer, int]:
        """Distinct layers and how many there are of each, in order of first appearance."""
        return dict(Counter(self.layers))

    @property
    def num_parameters(self) -> int:
        """All stored parameters: embedding, layers, norms, and the output head unless it is tied."""
        head = 0 if self.tied_head else self.head.total_parameters
        layers = sum(
            n * (layer.norm_parameters + sum(m.total_parameters for m in layer.matrices))
            for layer, n in self.layer_counts.items()
        )
        return self.embedding_parameters + head + self.final_norm_parameters + layers

    @property
    def num_active_parameters(self) -> int:
        """Parameters one token touches: without the input embedding table, with the output head."""
        layers = sum(
            n * (layer.norm_parameters + sum(m.active_parameters for m in layer.matrices))
            for layer, n in self.layer_counts.items()
        )
        return layers + self.head.total_parameters + self.final_norm_parameters

    def splits_over(self, ranks: int) -> bool:
        """Whether tensor parallelism can cut every attention layer: query heads evenly, K/V heads evenly or repeated.

        Fewer K/V heads than ranks are repeated, each on equally many ranks, as vLLM does (and it refuses the rest).
        """
        return all(_splits(mixer, ranks) for mixer in {layer.mixer for layer in self.layer_counts})


def _splits(mixer: Mixer, ranks: int) -> bool:
    if isinstance(mixer, StateMixer):
        return True
    kv_heads = mixer.num_kv_heads if isinstance(mixer, Attention) else 1
    return mixer.num_heads % ranks == 0 and (kv_heads % ranks == 0 or ranks % kv_heads == 0)
