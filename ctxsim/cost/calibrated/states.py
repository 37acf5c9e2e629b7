"""Constant states at measured times: the gated delta rule, in chunks for prompts and token by token in decode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.tariffs import PhasedTariff
from ctxsim.cost.curves import linear_attention_s
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.model import DeltaHeads, StateMixer
from ctxsim.spec.scenario import Scenario

CHUNKED, RECURRENT = "chunked", "recurrent"
"""The variants of the fits: prompts, and one token at a time."""


def priced_states(scenario: Scenario, bench: Bench) -> Iterator[PhasedTariff]:
    """The delta rule of each kind of layer, where both of its kernels have a fit."""
    fits = delta_fits(bench.calibration)
    if fits is None:
        return
    for layer, number in scenario.model.layer_counts.items():
        mixer = layer.mixer
        if isinstance(mixer, StateMixer) and mixer.delta is not None:
            heads = _of_rank(mixer.delta, scenario.deployment.tensor_parallel)
            yield PhasedTariff(f"state {mixer.kind}", number, partial(_states_s, bench, *fits, heads))


def delta_fits(calibration: Calibration) -> tuple[Fit, Fit] | None:
    """The fits of prompts and of decode; None unless there are both."""
    chunked = calibration.fit("linear_attention", CHUNKED)
    recurrent = calibration.fit("linear_attention", RECURRENT)
    return None if chunked is None or recurrent is None else (chunked, recurrent)


def _of_rank(heads: DeltaHeads, ranks: int) -> DeltaHeads:
    """The heads of one rank; those that are fewer than ranks are repeated."""
    return DeltaHeads(-(-heads.key_heads // ranks), -(-heads.value_heads // ranks), heads.key_dim, heads.value_dim)


def _states_s(
    bench: Bench, chunked: Fit, recurrent: Fit, heads: DeltaHeads, chunks: int, tokens: int, decoding: int
) -> float:
    """Chunks count as long as they are on average."""
    shape = (heads.key_heads, heads.value_heads, heads.key_dim, heads.value_dim)
    seconds = 0.0
    if chunks:
        seconds += chunked.scale * float(linear_attention_s(bench.device, chunked, chunks, tokens / chunks, *shape))
    if decoding:
        seconds += recurrent.scale * float(linear_attention_s(bench.device, recurrent, decoding, 1, *shape))
    return seconds
