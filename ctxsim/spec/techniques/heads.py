"""Effects on the heads of attention: fewer KV heads, latent rows, heads that keep a window."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.spec.families.blocks import projection
from ctxsim.spec.keeping import HeadWindow
from ctxsim.spec.model import Attention, LatentAttention, Layer, Matrix, Product
from ctxsim.spec.techniques.effects import KvHeads, Latent, SplitHeads
from ctxsim.spec.techniques.subject import (
    RefusalError,
    Subject,
    is_kv_projection,
    refuse_part_of_shared,
    refuse_unless,
    rounded_up,
)


def kv_heads(effect: KvHeads, subject: Subject) -> Subject:
    """Softmax attention with so many KV heads, in all of its layers or a share; K and V projections shrink."""
    if not effect.num_kv_heads or not effect.layer_ratio:
        return subject
    softmax = [layer for layer in subject.model.layer_counts if _is_softmax(layer)]
    name, wanted = subject.model.name, effect.num_kv_heads
    refuse_unless(bool(softmax), f"{name} has no softmax attention, and latent rows have no KV heads to share")
    for heads in (layer.mixer.num_kv_heads for layer in softmax if isinstance(layer.mixer, Attention)):
        why = f"expected a divisor of the {heads} KV heads of {name}, found {wanted}"
        refuse_unless(heads % wanted == 0, why)
    refuse_part_of_shared(effect.layer_ratio, softmax, name)
    return subject.with_share(effect.layer_ratio, _is_softmax, lambda layer: _with_heads(layer, wanted))


def _is_softmax(layer: Layer) -> bool:
    return isinstance(layer.mixer, Attention)


def _is_full_softmax(layer: Layer) -> bool:
    return isinstance(layer.mixer, Attention) and layer.mixer.kind == "full"


def _with_heads(layer: Layer, wanted: int) -> Layer:
    mixer = layer.mixer
    assert isinstance(mixer, Attention)
    if mixer.num_kv_heads == wanted:
        return layer
    times = mixer.num_kv_heads // wanted
    matrices = tuple(_shrunk(m, times, wanted) if is_kv_projection(m) else m for m in mixer.matrices)
    return replace(layer, mixer=replace(mixer, num_kv_heads=wanted, matrices=matrices))


def _shrunk(matrix: Matrix, times: int, shards: int) -> Matrix:
    products = tuple(Product(p.outputs // times, p.inputs, p.cut) for p in matrix.products)
    parameters, biases = matrix.parameters // times, matrix.biases // times
    return replace(matrix, parameters=parameters, biases=biases, max_shards=shards, products=products)


def latent(effect: Latent, subject: Subject) -> Subject:
    """Full softmax attention as latent attention (DeepSeek-V2, arXiv 2405.04434), queries not compressed.

    Head dims stay; each query head gets a rotary part beside them. The output projection is as before. Of some layers
    alone: arXiv 2503.11132.
    """
    if not effect.layer_ratio:
        return subject
    mixers = [layer.mixer for layer in subject.model.layer_counts]
    name = subject.model.name
    refuse_unless(
        not any(isinstance(mixer, LatentAttention) for mixer in mixers), f"{name} has latent attention already"
    )
    decoders = any(layer.last_token_only for layer in subject.model.layer_counts)
    refuse_unless(not decoders, "the KV that a decoder-decoder's upper layers read is of heads, not of latent rows")
    full = [layer for layer in subject.model.layer_counts if _is_full_softmax(layer)]
    refuse_unless(bool(full), f"{name} has no layer of full attention")
    refuse_part_of_shared(effect.layer_ratio, full, name)
    hidden_size = subject.model.hidden_size
    return subject.with_share(effect.layer_ratio, _is_full_softmax, lambda la: _latent_layer(la, effect, hidden_size))


def _latent_layer(layer: Layer, effect: Latent, hidden_size: int) -> Layer:
    mixer = layer.mixer
    assert isinstance(mixer, Attention)
    rank, rope, heads = effect.kv_lora_rank, effect.qk_rope_head_dim, mixer.num_heads
    query = next((matrix for matrix in mixer.matrices if matrix.operation == "qkv"), None)
    matrices: tuple[Matrix, ...] = ()
    if query is not None:
        widths = heads * (mixer.qk_head_dim + rope), heads * (mixer.qk_head_dim + mixer.v_head_dim)
        down = projection("mla_down", hidden_size, rank + rope, quantized=query.quantized, max_shards=1)
        matrices = (
            *((down,) if mixer.keeping.stores else ()),
            projection("mla_up", hidden_size, widths[0], quantized=query.quantized),
            projection("mla_kv_up", rank, widths[1], quantized=query.quantized, max_shards=heads),
            *(matrix for matrix in mixer.matrices if matrix.operation != "qkv"),
        )
    row = LatentAttention(
        heads, rank, rope, mixer.qk_head_dim, mixer.v_head_dim, matrices, keeping=mixer.keeping
    )  # fmt: skip
    return replace(layer, mixer=row, norm_parameters=layer.norm_parameters + (rank if matrices else 0))


def split_heads(effect: SplitHeads, subject: Subject) -> Subject:
    """Of every layer that reads everything, some KV heads keep it, the others sinks and a window."""
    tokens = effect.sink_tokens + effect.window_tokens
    if effect.full_ratio == 1 or tokens >= subject.longest_tokens:
        return subject
    if any(isinstance(layer.mixer, LatentAttention) for layer in subject.model.layer_counts):
        raise RefusalError("latent rows are shared by all heads, so no head can keep less of them")
    whole_prompts = effect.prefill == "full"
    changed = subject.with_layers(lambda layer: _split(layer, effect.full_ratio, tokens, whole_prompts))
    refuse_unless(changed is not subject, f"{subject.model.name} has no layer of full attention")
    return changed


def _split(layer: Layer, full_ratio: float, tokens: int, whole_prompts: bool) -> Layer:
    mixer = layer.mixer
    if not isinstance(mixer, Attention) or mixer.kind != "full":
        return layer
    windowed = mixer.num_kv_heads - rounded_up(full_ratio, mixer.num_kv_heads)
    window = HeadWindow(windowed, tokens, whole_prompts) if windowed else None
    return replace(layer, mixer=replace(mixer, keeping=replace(mixer.keeping, head_window=window)))
