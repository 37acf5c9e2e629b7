"""Our own model form, for models that no adapter reads: parameters in total, layers and how they keep context."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ctxsim.spec.document import Document
from ctxsim.spec.model import Attention, LatentAttention, Layer, Matrix, Mixer, ModelSpec, StateMixer
from ctxsim.spec.validation import FieldError, Spec, kind_tag, validate

FAMILY = "explicit"
MAX_LAYERS = 10_000
MAX_COUNT = 10**15
"""The largest count that is accepted: far above any model, small enough for exact sums in floats."""


def _whole(value: object) -> object:
    """34e9 as the whole number it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_COUNT)]
CountOrZero = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MAX_COUNT)]


class SoftmaxAttention(Spec):
    """Attention over all of the context, a sliding window of it, or the current chunk."""

    kind: Literal["full", "sliding", "chunked"]
    num_heads: Count
    num_kv_heads: Count
    head_dim: Count
    window_tokens: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> SoftmaxAttention:
        if self.num_heads % self.num_kv_heads:
            message = f"expected a divisor of the {self.num_heads} heads, found {self.num_kv_heads}"
            raise FieldError("num_kv_heads", message)
        if self.kind == "full" and self.window_tokens is not None:
            raise FieldError("window_tokens", "expected no window for full attention; write kind: sliding or chunked")
        if self.kind != "full" and self.window_tokens is None:
            raise FieldError("window_tokens", f"expected a number of tokens for {self.kind} attention, found nothing")
        return self

    def mixer(self) -> Mixer:
        """The attention, its weights being counted elsewhere."""
        heads, kv_heads, width = self.num_heads, self.num_kv_heads, self.head_dim
        return Attention(self.kind, heads, kv_heads, width, width, (), self.window_tokens)


class CompressedAttention(Spec):
    """Multi-head latent attention: one latent row a token, shared by all heads."""

    kind: Literal["mla"]
    num_heads: Count
    kv_lora_rank: Count
    qk_rope_head_dim: Count
    qk_nope_head_dim: Count
    v_head_dim: Count

    def mixer(self) -> Mixer:
        """The attention, its weights being counted elsewhere."""
        return LatentAttention(
            self.num_heads, self.kv_lora_rank, self.qk_rope_head_dim, self.qk_nope_head_dim, self.v_head_dim, ()
        )


class ConstantState(Spec):
    """Linear attention or a state-space layer: a state of fixed size instead of a KV cache."""

    kind: Literal["linear", "ssm"]
    state_bytes: Count
    state_flop_per_token: CountOrZero

    def mixer(self) -> Mixer:
        """The state, its weights being counted elsewhere."""
        return StateMixer(self.kind, self.state_bytes, self.state_flop_per_token, ())


AnyMixer = Annotated[
    Annotated[SoftmaxAttention, Tag("<full>")]
    | Annotated[SoftmaxAttention, Tag("<sliding>")]
    | Annotated[SoftmaxAttention, Tag("<chunked>")]
    | Annotated[CompressedAttention, Tag("<mla>")]
    | Annotated[ConstantState, Tag("<linear>")]
    | Annotated[ConstantState, Tag("<ssm>")],
    Discriminator(kind_tag),
]


class LayerGroup(Spec):
    """So many layers in a row that keep context alike."""

    count: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    attention: AnyMixer


class Experts(Spec):
    """Copies of the whole weight set, of which a token uses a few."""

    num_experts: Count
    experts_per_token: Count

    @model_validator(mode="after")
    def _check(self) -> Experts:
        if self.experts_per_token > self.num_experts:
            message = f"expected at most the {self.num_experts} experts, found {self.experts_per_token}"
            raise FieldError("experts_per_token", message)
        return self


class ExplicitModel(Spec):
    """A model by its totals: weights spread evenly over the layers, no embedding table and no head of its own.

    Either ``num_layers`` with one ``attention`` for all, or ``layers`` as groups in order. With ``experts``,
    ``num_parameters`` is the size of one expert set.
    """

    name: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    num_parameters: Count
    hidden_size: Count
    max_context_tokens: Count
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)] | None = None
    attention: AnyMixer | None = None
    layers: Annotated[tuple[LayerGroup, ...], Field(strict=False)] | None = None
    experts: Experts | None = None
    vocab_size: CountOrZero = 0

    @model_validator(mode="after")
    def _one_form(self) -> ExplicitModel:
        given = (self.num_layers is not None, self.attention is not None, bool(self.layers))
        if given not in ((True, True, False), (False, False, True)):
            raise FieldError("layers", "expected either num_layers and attention, or layers as groups in order")
        if self.layers and sum(group.count for group in self.layers) > MAX_LAYERS:
            raise FieldError("layers", f"expected at most {MAX_LAYERS} layers in all, found more")
        return self


def read_explicit(document: Document) -> ModelSpec:
    """The model of an explicit YAML file; raises SpecError with every fault found."""
    form = validate(ExplicitModel, document)
    mixers = _mixers(form)
    weights = _spread(form.num_parameters, len(mixers))
    layers = tuple(
        Layer(mixer, (_weights(share, form.experts),), norm_parameters=0)
        for mixer, share in zip(mixers, weights, strict=True)
    )
    return ModelSpec(
        name=form.name,
        family=FAMILY,
        hidden_size=form.hidden_size,
        vocab_size=form.vocab_size,
        max_context_tokens=form.max_context_tokens,
        layers=layers,
        embedding_parameters=0,
        head=Matrix("head", 0),
        tied_head=False,
        final_norm_parameters=0,
    )


def _mixers(form: ExplicitModel) -> list[Mixer]:
    if form.attention is not None and form.num_layers is not None:
        return [form.attention.mixer()] * form.num_layers
    return [group.attention.mixer() for group in form.layers or () for _ in range(group.count)]


def _spread(total: int, layers: int) -> list[int]:
    """Whole numbers that sum to the total: equal shares, the remainder in the first layer."""
    share, rest = divmod(total, layers)
    return [share + rest, *[share] * (layers - 1)]


def _weights(parameters: int, experts: Experts | None) -> Matrix:
    """One layer's weights as one matrix; with experts, one such matrix an expert."""
    if experts is None:
        return Matrix("weights", parameters)
    count = experts.num_experts
    return Matrix("experts", count * parameters, experts=count, experts_per_token=experts.experts_per_token)
