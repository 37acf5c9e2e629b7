"""Effects on weights: narrower feed-forwards, tables in place of products, tokens that pass a light branch."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.spec.model import Attention, Layer, Matrix
from ctxsim.spec.narrower import narrowed
from ctxsim.spec.techniques.effects import FfnWidth, HashLayers, LightTokens
from ctxsim.spec.techniques.subject import Subject, refuse_unless

DENSE = ("mlp", "weights")
"""Operations of a dense feed-forward; an explicit model's weights are known in total alone."""


def ffn_width(effect: FfnWidth, subject: Subject) -> Subject:
    """The dense feed-forward at a share of its width (MatFormer, arXiv 2310.07707)."""
    if effect.ratio == 1:
        return subject
    _refuse_unless_dense(subject, "mlp")
    return subject.with_layers(
        lambda layer: replace(layer, feed_forward=tuple(narrowed(m, effect.ratio) for m in layer.feed_forward))
    )


def hash_layers(effect: HashLayers, subject: Subject) -> Subject:
    """Projections as tables (MemoryFormer, arXiv 2411.12992): for every tau inputs one of 2^tau rows of all outputs."""
    if not effect.layer_ratio:
        return subject
    for layer in subject.model.layer_counts:
        refuse_unless(
            isinstance(layer.mixer, Attention) and all(matrix.experts == 1 for matrix in layer.feed_forward),
            f"expected softmax attention and dense feed-forwards in every layer of {subject.model.name}",
        )
        for matrix in layer.matrices:
            inputs = [product.inputs for product in matrix.products] or [matrix.parameters]
            refuse_unless(
                all(count % effect.tau == 0 for count in inputs),
                f"expected a divisor of the {inputs[0]} inputs of {matrix.operation}, found {effect.tau}",
            )
    return subject.with_share(effect.layer_ratio, lambda _: True, lambda layer: _hashed(layer, effect.tau))


def _hashed(layer: Layer, tau: int) -> Layer:
    assert isinstance(layer.mixer, Attention)
    mixer = replace(layer.mixer, matrices=tuple(_table(matrix, tau) for matrix in layer.mixer.matrices))
    return replace(layer, mixer=mixer, feed_forward=tuple(_table(matrix, tau) for matrix in layer.feed_forward))


def _table(matrix: Matrix, tau: int) -> Matrix:
    return replace(matrix, parameters=matrix.parameters // tau * 2**tau, table_bits=tau)


def light_tokens(effect: LightTokens, subject: Subject) -> Subject:
    """A light branch for all tokens, the whole feed-forward and attention for some (CoLT5, arXiv 2303.09752).

    All tokens keep KV; the light branch's local attention, of a window, is left out.
    """
    if effect.heavy_ratio == 1 and effect.light_width_ratio == 0:
        return subject
    _refuse_unless_dense(subject, *DENSE)
    for layer in subject.model.layer_counts:
        refuse_unless(isinstance(layer.mixer, Attention), "expected softmax attention in every layer")
    return subject.with_layers(lambda layer: _lightened(layer, effect))


def _lightened(layer: Layer, effect: LightTokens) -> Layer:
    mixer = layer.mixer
    assert isinstance(mixer, Attention)
    heavy = tuple(replace(matrix, token_ratio=effect.heavy_ratio) for matrix in layer.feed_forward)
    light = tuple(
        replace(narrowed(matrix, effect.light_width_ratio), operation=f"light_{matrix.operation}")
        for matrix in layer.feed_forward
        if effect.light_width_ratio
    )
    keeping = replace(mixer.keeping, query_ratio=effect.heavy_ratio)
    return replace(layer, mixer=replace(mixer, keeping=keeping), feed_forward=(*heavy, *light))


def _refuse_unless_dense(subject: Subject, *operations: str) -> None:
    found = {m.operation for layer in subject.model.layer_counts for m in layer.feed_forward}
    wanted = f"a dense feed-forward ({' or '.join(operations)}) in every layer of {subject.model.name}"
    refuse_unless(found <= set(operations), f"expected {wanted}, found {', '.join(sorted(found))}")
