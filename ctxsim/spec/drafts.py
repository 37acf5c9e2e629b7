"""The model that drafts for another."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.model import Layer, ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.spec.narrower import narrowed
from ctxsim.spec.serving import Serving


def draft_model(serving: Serving, model: ModelSpec) -> ModelSpec | None:
    """What drafts for ``model``; None where nothing is drafted.

    Raises SpecError where there is no such model, or the model cannot be cut like that.
    """
    speculation = serving.drafting
    if speculation is None:
        return None
    draft = speculation.draft
    if draft.model is not None:
        return load_model(draft.model)
    if draft.layers is not None:
        if draft.layers > model.num_layers:
            raise _fault(f"expected at most the {model.num_layers} layers of {model.name}, found {draft.layers}")
        return replace(model, name=f"{model.name}, {draft.layers} layers", layers=model.layers[: draft.layers])
    assert draft.ffn_ratio is not None
    return _narrower(model, draft.ffn_ratio)


def _narrower(model: ModelSpec, ratio: float) -> ModelSpec:
    """The model with that share of the width of every feed-forward layer."""
    feed_forward = [m for layer in model.layer_counts for m in layer.feed_forward]
    dense = all(m.operation == "mlp" and not m.table_bits for m in feed_forward)
    if not dense or not feed_forward:
        raise _fault(f"expected a model whose feed-forward layers are dense, found {model.name}; name a draft model")
    layers = {layer: _narrower_layer(layer, ratio) for layer in model.layer_counts}
    name = f"{model.name}, {ratio:g} of its width"
    return replace(model, name=name, layers=tuple(layers[layer] for layer in model.layers))


def _narrower_layer(layer: Layer, ratio: float) -> Layer:
    return replace(layer, feed_forward=tuple(narrowed(matrix, ratio) for matrix in layer.feed_forward))


def _fault(message: str) -> SpecError:
    return SpecError(Fault("", None, None, "draft", message))
