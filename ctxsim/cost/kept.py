"""What a reader must know of KV that is dropped once a prompt is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ctxsim.geometry import KvLayout
from ctxsim.spec.keeping import PLAIN, Keeping
from ctxsim.spec.model import Layer, ModelSpec, StateMixer
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests, Sessions
from ctxsim.units import show


def kept_warnings(scenario: Scenario) -> Iterator[str]:
    """A warning where prompts are computed with more KV than what stays of them, with both amounts."""
    while_computed = model_in_prompts(scenario.model)
    if while_computed == scenario.model:
        return
    kv_dtype, ranks = scenario.serving.kv_dtype, scenario.deployment.tensor_parallel
    tokens = _prompt_tokens(scenario)
    whole, kept = (
        show(KvLayout.of(model, kv_dtype, ranks).held_bytes(tokens), "bytes")
        for model in (while_computed, scenario.model)
    )
    workload = scenario.workload
    later = isinstance(workload, Sessions) and workload.rounds > 1
    yield (
        f"a prompt of {tokens:,} tokens takes {whole} of KV while it is computed, and {kept} from then on: capacity, "
        "swaps and prices count what is kept"
        + ("; later rounds attend to the whole context while their prompts are computed" if later else "")
    )


def model_in_prompts(model: ModelSpec) -> ModelSpec:
    """The model with what it keeps while a prompt is computed."""
    layers = {layer: _in_prompts(layer) for layer in model.layer_counts}
    return replace(model, layers=tuple(layers[layer] for layer in model.layers))


def _in_prompts(layer: Layer) -> Layer:
    mixer = layer.mixer
    if isinstance(mixer, StateMixer) or mixer.keeping == PLAIN:
        return layer
    return replace(layer, mixer=replace(mixer, keeping=_whole(mixer.keeping)))


def _whole(keeping: Keeping) -> Keeping:
    tokens = keeping.tokens if keeping.windowed_prompts else None
    window = keeping.head_window
    return replace(
        keeping, ratio=1.0, tokens=tokens, head_window=None if window is not None and window.whole_prompts else window
    )


def _prompt_tokens(scenario: Scenario) -> int:
    """A prompt of mean length; of a trace, the longest that is served."""
    workload = scenario.workload
    if isinstance(workload, Sessions):
        return round(workload.document_tokens.mean_tokens + workload.question_tokens.mean_tokens)
    if isinstance(workload, Requests):
        return round(workload.prompt_tokens.mean_tokens)
    return scenario.max_model_len
