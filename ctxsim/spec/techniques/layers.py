"""Effects on the stack of layers: KV that layers share, decoder-decoders, hybrids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ctxsim.spec.keeping import Keeping
from ctxsim.spec.model import Attention, LatentAttention, Layer, Matrix, Mixer, Product, StateMixer
from ctxsim.spec.techniques.effects import DecoderDecoder, Hybrid, ShareLayers
from ctxsim.spec.techniques.subject import (
    GLOBAL_KV,
    RefusalError,
    Subject,
    is_kv_projection,
    keeps_all,
    refuse_unless,
    rounded_up,
)

STATE_VALUE_BYTES = 4
"""A linear layer's state is kept in float32, as the reference code of the shipped hybrids does."""

FLOP_PER_MULTIPLY_ADD = 2


def share_layers(effect: ShareLayers, subject: Subject) -> Subject:
    """Of each group of attention layers of one kind the first keeps KV, the others read it and have no K and V
    projections (cross-layer attention, arXiv 2405.12981)."""
    size = effect.layers_per_group
    if size == 1:
        return subject
    _refuse_shared(subject)
    layers, seen = [], Counter[object]()
    for layer in subject.model.layers:
        kind = _kind(layer.mixer)
        if kind is None:
            layers.append(layer)
            continue
        first = seen[kind] == 0 if size == 0 else seen[kind] % size == 0
        layers.append(layer if first else _reading(layer))
        seen[kind] += 1
    return subject.with_stack(tuple(layers))


def _refuse_shared(subject: Subject) -> None:
    mixers = [layer.mixer for layer in subject.model.layer_counts]
    name = subject.model.name
    refuse_unless(any(not isinstance(mixer, StateMixer) for mixer in mixers), f"no layer of {name} has a KV cache")
    for mixer in mixers:
        if isinstance(mixer, LatentAttention):
            refuse_unless(mixer.index_topk is None, f"the indexers of {name} choose tokens layer by layer")


def _kind(mixer: Mixer) -> tuple[object, ...] | None:
    """What layers have in common that can share KV; None of layers without."""
    if isinstance(mixer, Attention):
        return mixer.kind, mixer.window_tokens, mixer.num_kv_heads, mixer.qk_head_dim, mixer.v_head_dim
    return (mixer.kv_lora_rank, mixer.qk_rope_head_dim) if isinstance(mixer, LatentAttention) else None


def _reading(layer: Layer) -> Layer:
    """The layer as one that reads another's KV."""
    mixer = layer.mixer
    assert not isinstance(mixer, StateMixer)
    keeping = replace(mixer.keeping, stores=False)
    if isinstance(mixer, Attention):
        matrices = tuple(matrix for matrix in mixer.matrices if not is_kv_projection(matrix))
        return replace(layer, mixer=replace(mixer, matrices=matrices, keeping=keeping))
    matrices = tuple(_queries_only(mixer, matrix) for matrix in mixer.matrices)
    return replace(layer, mixer=replace(mixer, matrices=tuple(m for m in matrices if m.parameters), keeping=keeping))


def _queries_only(mixer: LatentAttention, matrix: Matrix) -> Matrix:
    """A down-projection without the part that makes latent rows."""
    if matrix.operation != "mla_down":
        return matrix
    (product,) = matrix.products
    outputs = product.outputs - mixer.kv_lora_rank - mixer.qk_rope_head_dim
    biases = matrix.biases * outputs // product.outputs
    cut = Product(outputs, product.inputs, product.cut)
    return replace(matrix, parameters=outputs * product.inputs, biases=biases, products=(cut,))


def decoder_decoder(effect: DecoderDecoder, subject: Subject) -> Subject:
    """The lower layers with a window, the upper ones on one KV of the whole context.

    Source: YOCO, arXiv 2405.05254, of as many upper layers as lower ones. That KV is made by one projection at the end
    of the lower layers, for every token; all else of the upper ones computes the last token of a prompt alone, as in
    decode it computes the new ones.
    """
    model, tokens = subject.model, effect.window_tokens
    windowed = tokens < subject.longest_tokens
    if not effect.cross_decoder_ratio and not windowed:
        return subject
    for layer in model.layer_counts:
        refuse_unless(
            isinstance(layer.mixer, Attention) and layer.mixer.kind != "chunked",
            f"expected full or sliding attention in every layer of {model.name}, found {_called(layer.mixer)}",
        )
    middle = model.num_layers - rounded_up(effect.cross_decoder_ratio, model.num_layers)
    found = f"found all {model.num_layers} of {model.name} above it; lower cross_decoder_ratio"
    refuse_unless(middle > 0, f"expected a layer that makes the KV of those above it, {found}")
    lower = [_windowed(layer, tokens) if windowed else layer for layer in model.layers[:middle]]
    upper = [_global(layer, stores=i == 0) for i, layer in enumerate(model.layers[middle:])]
    if upper:
        lower[-1] = _with_global_kv(lower[-1], model.layers[middle])
    return subject.with_stack((*lower, *upper))


def _windowed(layer: Layer, tokens: int) -> Layer:
    mixer = layer.mixer
    assert isinstance(mixer, Attention)
    fewest = tokens if mixer.window_tokens is None else min(tokens, mixer.window_tokens)
    return replace(layer, mixer=replace(mixer, kind="sliding", window_tokens=fewest))


def _global(layer: Layer, stores: bool) -> Layer:
    mixer = layer.mixer
    assert isinstance(mixer, Attention)
    matrices = tuple(matrix for matrix in mixer.matrices if not is_kv_projection(matrix))
    whole = replace(mixer, kind="full", window_tokens=None, matrices=matrices, keeping=Keeping(stores=stores))
    return replace(layer, mixer=whole, last_token_only=True)


def _with_global_kv(layer: Layer, above: Layer) -> Layer:
    """The layer with the projection that makes the KV of all layers above."""
    known = next((m for m in above.mixer.matrices if is_kv_projection(m)), None)
    if known is None:
        return layer
    matrices = (*layer.mixer.matrices, replace(known, operation=GLOBAL_KV))
    return replace(layer, mixer=replace(layer.mixer, matrices=matrices))


def hybrid(effect: Hybrid, subject: Subject) -> Subject:
    """Of so many layers that read everything, the last stays so; the others get a window or a constant state."""
    every, model = effect.full_every, subject.model
    if every == 1 or (effect.window_tokens or 0) >= subject.longest_tokens:
        return subject
    refuse_unless(
        not any(isinstance(layer.mixer, StateMixer) for layer in model.layer_counts),
        f"{model.name} is a hybrid with constant states already",
    )
    refuse_unless(any(keeps_all(layer.mixer) for layer in model.layer_counts), f"no layer of {model.name} is full")
    return subject.with_stack(tuple(_mixed(model.layers, effect)))


def _mixed(layers: tuple[Layer, ...], effect: Hybrid) -> Iterator[Layer]:
    done: dict[Layer, Layer] = {}
    full = 0
    for layer in layers:
        full += keeps_all(layer.mixer)
        if not keeps_all(layer.mixer) or (effect.full_every and full % effect.full_every == 0):
            yield layer
            continue
        if layer not in done:
            done[layer] = _linear(layer) if effect.window_tokens is None else _sliding(layer, effect.window_tokens)
        yield done[layer]


def _sliding(layer: Layer, tokens: int) -> Layer:
    mixer = layer.mixer
    if isinstance(mixer, Attention):
        return replace(layer, mixer=replace(mixer, kind="sliding", window_tokens=tokens))
    assert isinstance(mixer, LatentAttention)
    refuse_unless(mixer.index_topk is None, "layers with an indexer read chosen tokens, and no window")
    return replace(layer, mixer=replace(mixer, keeping=replace(mixer.keeping, tokens=tokens, windowed_prompts=True)))


def _linear(layer: Layer) -> Layer:
    """Linear attention with the projections that are there: of each KV head a matrix of keys by values.

    Every token updates it once a KV head, and each query head reads it (a multiply-add a value each).
    """
    mixer = layer.mixer
    if not isinstance(mixer, Attention):
        raise RefusalError("latent attention has no keys and values of heads to sum up in a state")
    values = mixer.num_kv_heads * mixer.qk_head_dim * mixer.v_head_dim
    read = mixer.num_heads * mixer.qk_head_dim * mixer.v_head_dim
    flop = FLOP_PER_MULTIPLY_ADD * (values + read)
    return replace(layer, mixer=StateMixer("linear", STATE_VALUE_BYTES * values, flop, mixer.matrices))


def _called(mixer: Mixer) -> str:
    return "latent attention" if isinstance(mixer, LatentAttention) else f"a {mixer.kind} layer"
