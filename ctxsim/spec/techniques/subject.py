"""What techniques change, and how: a model, its serving and its deployment, each a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from ctxsim.spec.model import Attention, LatentAttention, Layer, Matrix, Mixer, ModelSpec, StateMixer
from ctxsim.spec.serving import Deployment, Serving

GLOBAL_KV = "global_kv"
"""The projection of a KV that the upper layers of a decoder-decoder read."""

DIGITS = 6
"""Of a share of heads or layers, before it is rounded up: a third of three is one."""


class RefusalError(Exception):
    """A technique that cannot be applied; the message says why and what would do."""


@dataclass(frozen=True)
class Subject:
    """A model and how it is served, as far as techniques have changed it.

    ``claimed``: by what was changed, the technique that did.
    """

    model: ModelSpec
    serving: Serving
    deployment: Deployment
    claimed: Mapping[str, str] = field(default_factory=dict)

    @property
    def longest_tokens(self) -> int:
        """The longest context that is served: what bounds as many tokens, or more, changes nothing."""
        return self.serving.max_model_len or self.model.max_context_tokens

    def with_layers(self, change: Callable[[Layer], Layer]) -> Subject:
        """Every layer changed; equal layers stay equal objects."""
        done: dict[Layer, Layer] = {}
        for layer in self.model.layers:
            if layer not in done:
                done[layer] = change(layer)
        return self.with_stack(tuple(done[layer] for layer in self.model.layers))

    def with_share(self, ratio: float, concerns: Callable[[Layer], bool], change: Callable[[Layer], Layer]) -> Subject:
        """That share of the layers that it concerns changed, rounded up: evenly spread, and the last one among them."""
        layers = self.model.layers
        places = [place for place, layer in enumerate(layers) if concerns(layer)]
        share = {places[number] for number in spread(rounded_up(ratio, len(places)), len(places))}
        changed = {layer: change(layer) for layer in {layers[place] for place in share}}
        return self.with_stack(tuple(changed[la] if place in share else la for place, la in enumerate(layers)))

    def with_stack(self, layers: tuple[Layer, ...]) -> Subject:
        """These layers in place of the model's; the same subject where they are equal."""
        return self if layers == self.model.layers else replace(self, model=replace(self.model, layers=layers))


def rounded_up(ratio: float, number: int) -> int:
    """That share of so many heads or layers, as a whole number of them."""
    return ceil(round(ratio * number, DIGITS))


def spread(few: int, number: int) -> list[int]:
    """So few of that many places, evenly over all of them: of each stretch the last."""
    return [place for place in range(number) if (place + 1) * few // number > place * few // number]


def keeps_all(mixer: Mixer) -> bool:
    """Whether a layer reads all of the context that is there: full or latent attention."""
    return isinstance(mixer, LatentAttention) or (isinstance(mixer, Attention) and mixer.kind == "full")


def keeps_whole(mixer: Mixer) -> bool:
    """Whether a layer keeps, in decode, what its kind has it read; a share or a window of it is not the whole."""
    return keeps_all(mixer) and not isinstance(mixer, StateMixer) and mixer.keeping.tokens is None


def is_kv_projection(matrix: Matrix) -> bool:
    """Whether these are weights of K and V of softmax attention: they are cut by KV heads."""
    return matrix.operation in ("qkv", GLOBAL_KV) and matrix.max_shards is not None


def refuse_part_of_shared(ratio: float, layers: Iterable[Layer], model_name: str) -> None:
    """Raises RefusalError where KV would change in a part of these attention layers and some of them share one."""
    shared = not all(layer.keeps_kv for layer in layers)
    why = f"layers of {model_name} share their KV, so all change or none: expected layer_ratio 1, found {ratio:g}"
    refuse_unless(ratio == 1 or not shared, why)


def refuse_unless(holds: bool, why: str) -> None:
    """Raises RefusalError with that reason unless it holds."""
    if not holds:
        raise RefusalError(why)
