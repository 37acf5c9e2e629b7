"""What a technique's file may say that it does: kinds of effect and their fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ctxsim.spec.serving import Dtype, KvFormat
from ctxsim.spec.validation import FieldError, Spec, kind_tag

Tokens = Annotated[int, Field(ge=0, le=10**9)]
Count = Annotated[int, Field(ge=0, le=10**6)]
Share = Annotated[float, Field(ge=0, le=1)]
SharePositive = Annotated[float, Field(gt=0, le=1)]
Prompts = Literal["full", "windowed"]


class KvHeads(Spec):
    """Softmax attention gets that many KV heads, 1 being multi-query attention; 0: as many as there are.

    ``layer_ratio``: the share of these layers that does, rounded up, evenly spread over the depth.
    """

    kind: Literal["kv_heads"]
    num_kv_heads: Count
    layer_ratio: Share = 1.0


class Latent(Spec):
    """Full attention becomes latent attention of that rank, its heads as large as before.

    ``layer_ratio``: the share of these layers that does, rounded up, evenly spread over the depth.
    """

    kind: Literal["latent"]
    kv_lora_rank: Annotated[int, Field(ge=1, le=10**6)]
    qk_rope_head_dim: Annotated[int, Field(ge=1, le=10**6)]
    layer_ratio: Share = 1.0


class ShareLayers(Spec):
    """Of so many attention layers of one kind in a row, one keeps KV and all read it; 0: all layers of a kind."""

    kind: Literal["share_layers"]
    layers_per_group: Count


class DecoderDecoder(Spec):
    """The lower layers keep windows, the upper ones read one KV of the whole context; prompts pass the lower ones.

    ``cross_decoder_ratio``: the share of the layers that are upper ones, rounded up; 0: none, and there is no such KV.
    """

    kind: Literal["decoder_decoder"]
    window_tokens: Annotated[int, Field(ge=1, le=10**9)]
    cross_decoder_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.5


class SplitHeads(Spec):
    """That share of the KV heads, rounded up in each layer, keeps everything; the others keep sinks and a window."""

    kind: Literal["split_heads"]
    full_ratio: Share
    sink_tokens: Tokens = 0
    window_tokens: Annotated[int, Field(ge=1, le=10**9)]
    prefill: Prompts = "windowed"


class Window(Spec):
    """Layers that keep everything keep sinks and the last tokens; ``prefill: full``: prompts still read everything."""

    kind: Literal["window"]
    sink_tokens: Tokens = 0
    window_tokens: Annotated[int, Field(ge=1, le=10**9)]
    prefill: Prompts


class Evict(Spec):
    """Once a prompt is computed with full attention, a share of the context stays, or so many tokens at most."""

    kind: Literal["evict"]
    keep_ratio: SharePositive | None = None
    budget_tokens: Annotated[int, Field(ge=1, le=10**9)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Evict:
        if (self.keep_ratio is None) == (self.budget_tokens is None):
            raise FieldError("keep_ratio", "expected either keep_ratio or budget_tokens; write one of them")
        return self


class KvFormatEffect(Spec):
    """The number format of the KV; bf16 leaves what the scenario says."""

    kind: Literal["kv_format"]
    format: KvFormat


class Weights(Spec):
    """The number format of the weights; bf16 leaves what the scenario says."""

    kind: Literal["weights"]
    format: Dtype


class Hybrid(Spec):
    """Of so many full-attention layers the last one stays so, the others get a window or a constant state; 0: none
    stays."""

    kind: Literal["hybrid"]
    full_every: Count
    other: Literal["sliding", "linear"]
    window_tokens: Annotated[int, Field(ge=1, le=10**9)] | None = None

    @model_validator(mode="after")
    def _window_where_it_counts(self) -> Hybrid:
        if (self.window_tokens is None) == (self.other == "sliding"):
            message = "expected a number of tokens beside other: sliding, and none beside other: linear"
            raise FieldError("window_tokens", message)
        return self


class Select(Spec):
    """Decode reads so many tokens of a cache that is kept whole, and the summaries of all pages."""

    kind: Literal["select"]
    top_k_tokens: Annotated[int, Field(ge=1, le=10**9)]
    page_tokens: Annotated[int, Field(ge=1, le=10**9)]
    metadata_values_per_page: Tokens


class FfnWidth(Spec):
    """That share of the dense feed-forward's width."""

    kind: Literal["ffn_width"]
    ratio: SharePositive


class HashLayers(Spec):
    """Projections become look-ups in tables of 2^tau rows for every tau inputs.

    ``layer_ratio``: those of that share of the layers, rounded up, evenly spread over the depth.
    """

    kind: Literal["hash_layers"]
    tau: Annotated[int, Field(ge=1, le=16)]
    layer_ratio: Share = 1.0


class LightTokens(Spec):
    """All tokens pass a narrow feed-forward, that share of them the whole one and, as queries, attention."""

    kind: Literal["light_tokens"]
    heavy_ratio: SharePositive
    light_width_ratio: Share


class Set(Spec):
    """A setting of ``serving``, or of the deployment where it begins so (``deployment.x``); null changes nothing.

    What a scenario has chosen otherwise is a contradiction, unless it is off or nothing there.
    ``neutral``: where the setting does nothing: a value, or keys with values. Such a value changes nothing either.
    """

    kind: Literal["set"]
    setting: Annotated[str, Field(min_length=1)]
    value: Any = None
    neutral: Any = None


class Chunk(Spec):
    """Prompts in pieces: so many tokens an iteration; null: the scenario's own budget."""

    kind: Literal["chunk"]
    iteration_tokens: Annotated[int, Field(ge=1, le=10**9)] | None


class AttentionPattern(Spec):
    """Full attention through abstractions of regions (Combiner)."""

    kind: Literal["attention_pattern"]
    pattern: Literal["combiner_fixed"]
    region_tokens: Annotated[int, Field(ge=1, le=10**9)]


Effect = Annotated[
    Annotated[KvHeads, Tag("<kv_heads>")]
    | Annotated[Latent, Tag("<latent>")]
    | Annotated[ShareLayers, Tag("<share_layers>")]
    | Annotated[DecoderDecoder, Tag("<decoder_decoder>")]
    | Annotated[SplitHeads, Tag("<split_heads>")]
    | Annotated[Window, Tag("<window>")]
    | Annotated[Evict, Tag("<evict>")]
    | Annotated[KvFormatEffect, Tag("<kv_format>")]
    | Annotated[Weights, Tag("<weights>")]
    | Annotated[Hybrid, Tag("<hybrid>")]
    | Annotated[Select, Tag("<select>")]
    | Annotated[FfnWidth, Tag("<ffn_width>")]
    | Annotated[HashLayers, Tag("<hash_layers>")]
    | Annotated[LightTokens, Tag("<light_tokens>")]
    | Annotated[Set, Tag("<set>")]
    | Annotated[Chunk, Tag("<chunk>")]
    | Annotated[AttentionPattern, Tag("<attention_pattern>")],
    Discriminator(kind_tag),
]
