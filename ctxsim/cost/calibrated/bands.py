"""How far calibrated times may be off: by family, at the shapes that a scenario runs.

A family's errors are taken to move together (a GEMM that is 5 % slower than predicted makes all of them so), those of
different families apart. That is the careful reading: errors that were independent would cancel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log
from typing import NamedTuple

from ctxsim.cost.calibrated.attention import attention_fit
from ctxsim.cost.calibrated.compiling import product_fit
from ctxsim.cost.calibrated.experts import experts_fit, experts_shape, routed_experts
from ctxsim.cost.calibrated.modules import module_fits
from ctxsim.cost.calibrated.products import rank_products
from ctxsim.cost.calibrated.states import CHUNKED, delta_fits
from ctxsim.cost.weights import plain_dtype
from ctxsim.spec.calibration import WINDOWED, Family, Fit
from ctxsim.spec.model import Attention, LatentAttention, StateMixer
from ctxsim.spec.scenario import Scenario

SERIAL = ("serial_decode", "masked_prefill")
"""Attention whose fits hold for all head sizes."""

GUESS_FACTOR = 2.0
"""On the spread of what was measured elsewhere: on another device of the same architecture, in another calibration, or
of full attention where a sliding window has no fit of its own (on H200 such windows err by twice the spread)."""


def beyond(fit: Fit, **quantities: float) -> float:
    """How many factors of e these lie outside the measured range, summed over quantities; 0 inside."""
    total = 0.0
    for name, least, most in fit.measured:
        value = quantities.get(name)
        if value is not None and value > 0 and most > 0:
            total += max(0.0, log(value / most), log(least / value) if least > 0 else 0.0)
    return total


def spread_ratio(fit: Fit, **quantities: float) -> float:
    """Standard deviation of the relative error of a fit's times at that shape."""
    grown = fit.spread_growth_ratio * beyond(fit, **quantities)
    return _seen_spread_ratio(fit, **quantities) + grown + _past_spread_ratio(fit, **quantities)


def _seen_spread_ratio(fit: Fit, **quantities: float) -> float:
    """The spread at the nearest size that was measured; that of all sizes together where no size is asked for."""
    size = quantities.get(fit.size)
    if size is None or not fit.size_spreads:
        return fit.spread_ratio
    return next((ratio for least, ratio in fit.size_spreads if size >= least), fit.size_spreads[-1][1])


def _past_spread_ratio(fit: Fit, new_tokens: float = 0.0, past_tokens: float = 0.0, **others: float) -> float:
    """What a past adds to the spread of a fit that has seen whole prompts alone; 0 for other fits."""
    growths = (growth for least, growth in fit.past_growths if new_tokens >= least)
    return next(growths, 0.0) * log(1 + past_tokens / new_tokens) if new_tokens else 0.0


def family_spreads(scenario: Scenario, context_tokens: int) -> dict[str, float]:
    """By family, the widest spread at the shapes of a scenario whose contexts reach so many tokens."""
    assert scenario.calibration is not None
    elsewhere = scenario.calibration.hardware != scenario.hardware.name
    spreads: dict[str, float] = {}
    for fit, quantities, guessed in _shapes(scenario, context_tokens):
        guess = GUESS_FACTOR if elsewhere or guessed or fit.borrowed_from else 1.0
        spreads[fit.family] = max(spreads.get(fit.family, 0.0), guess * spread_ratio(fit, **quantities))
    return spreads


Shape = tuple[Fit, Mapping[str, float], bool]
"""A fit, what it is asked for, and whether it was measured of something else."""


class Outside(NamedTuple):
    """A quantity that lies outside of what was measured for a fit; its spread at the nearest size, and there."""

    family: str
    variant: str
    quantity: str
    value: float
    least: float
    most: float
    spread_ratio: float
    here_ratio: float


def outside(scenario: Scenario, context_tokens: int) -> list[Outside]:
    """Where a scenario whose contexts reach so many tokens leaves the measured range, the furthest of each quantity."""
    furthest: dict[tuple[str, str, str], tuple[float, Outside]] = {}
    for fit, quantities, _ in _shapes(scenario, context_tokens):
        past = [("past_tokens", 0.0, 0.0)] if fit.past_growths else []
        for name, least, most in (*fit.measured, *past):
            how_far = _how_far(fit, name, quantities)
            key = (fit.family, fit.variant, name)
            if how_far > furthest.get(key, (0.0, None))[0]:
                here = spread_ratio(fit, **quantities)
                seen = _seen_spread_ratio(fit, **quantities)
                found = Outside(*key, quantities[name], least, most, seen, here)
                furthest[key] = how_far, found
    return [found for _, found in furthest.values()]


def _how_far(fit: Fit, name: str, quantities: Mapping[str, float]) -> float:
    """How far one quantity lies outside of what was measured; a past counts by its tokens, where there were none."""
    if name not in quantities:
        return 0.0
    return quantities[name] if name == "past_tokens" and fit.past_growths else beyond(fit, **{name: quantities[name]})


def _shapes(scenario: Scenario, context_tokens: int) -> Iterator[Shape]:
    """Every fit that prices something, with the shapes of a full chunk and of a single decode."""
    chunk = min(scenario.serving.max_num_batched_tokens, context_tokens)
    for fit, quantities in (*_products(scenario, chunk), *_experts(scenario, chunk), *_others(scenario, chunk)):
        yield fit, quantities, False
    for mixer in {layer.mixer for layer in scenario.model.layer_counts}:
        if isinstance(mixer, Attention):
            yield from _attention(scenario, mixer, chunk, context_tokens)
        elif isinstance(mixer, LatentAttention):
            yield from _modules(scenario, mixer, chunk, context_tokens)


def _products(scenario: Scenario, chunk: int) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    calibration, serving = scenario.calibration, scenario.serving
    assert calibration is not None
    for product in rank_products(scenario.model, scenario.deployment.tensor_parallel):
        fit = product_fit(calibration, serving.weight_dtype if product.quantized else plain_dtype(serving.weight_dtype))
        for rows in (1, chunk) if fit is not None and product.experts == 1 else ():
            assert fit is not None
            yield fit, {"m": rows, "n": product.outputs, "k": product.inputs}


def _experts(scenario: Scenario, chunk: int) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    assert scenario.calibration is not None
    for layer in scenario.model.layer_counts:
        for matrix in routed_experts(layer.feed_forward):
            fit = experts_fit(scenario.calibration, scenario.serving.weight_dtype, matrix)
            if fit is not None:
                yield fit, {"tokens": chunk, **experts_shape(matrix)}


def _others(scenario: Scenario, chunk: int) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    """What depends on numbers of tokens and sequences alone."""
    calibration, ranks = scenario.calibration, scenario.deployment.tensor_parallel
    assert calibration is not None
    if any(isinstance(layer.mixer, StateMixer) and layer.mixer.delta for layer in scenario.model.layer_counts):
        for fit in delta_fits(calibration) or ():
            yield fit, {"batch": 1, "new_tokens": chunk if fit.variant == CHUNKED else 1}
    families: tuple[Family, ...] = ("elementwise", "all_reduce", "copy", "host")
    for family in families:
        for variant in calibration.variants(family):
            found = calibration.fit(family, variant)
            if found is not None and (ranks > 1 or family != "all_reduce"):
                yield found, {}


def _modules(scenario: Scenario, mixer: LatentAttention, chunk: int, context_tokens: int) -> Iterator[Shape]:
    assert scenario.calibration is not None
    serving, heads = scenario.serving, mixer.num_heads // scenario.deployment.tensor_parallel
    fits = module_fits(scenario.calibration, mixer, serving.kv_dtype, serving.weight_dtype)
    if fits is not None:
        prompt = {"new_tokens": chunk, "past_tokens": max(0, context_tokens - chunk), "context_tokens": context_tokens}
        yield fits.prefill, {"batch": 1, **prompt, "heads": heads}, False
        yield fits.decode, {"batch": 1, "context_tokens": context_tokens, "heads": heads}, False


def _attention(scenario: Scenario, mixer: Attention, chunk: int, context_tokens: int) -> Iterator[Shape]:
    assert scenario.calibration is not None
    kv_dtype, ranks = scenario.serving.kv_dtype, scenario.deployment.tensor_parallel
    heads, kv_heads = mixer.num_heads // ranks, max(1, mixer.num_kv_heads // ranks)
    shape = {"heads": heads, "kv_heads": kv_heads, "head_dim": mixer.qk_head_dim}
    window = mixer.window_tokens if mixer.kind == "sliding" else None
    limits = [tokens for tokens in (window, mixer.keeping.tokens) if tokens is not None]
    reach = min(context_tokens * mixer.keeping.ratio, *limits) if limits else context_tokens * mixer.keeping.ratio
    past_tokens = max(0, context_tokens - chunk)
    prompt = {"new_tokens": chunk, "past_tokens": past_tokens, "context_tokens": past_tokens + chunk}
    seen = min(past_tokens, window or past_tokens)
    asked: tuple[tuple[Family, Mapping[str, float]], ...] = (
        ("decode_attention", {"batch": 1, "context_tokens": reach}),
        ("prefill_attention", {"batch": 1, **prompt, "past_tokens": seen}),
        ("mixed_attention", {"batch": 1, "context_tokens": reach}),
        ("serial_decode", {"batch": 1, "context_tokens": context_tokens}),
        ("masked_prefill", {"batch": 1, **prompt}),
    )
    for family, quantities in asked:
        serial = family in SERIAL
        calibration, head_dim = scenario.calibration, mixer.qk_head_dim
        fit = (
            calibration.fit(family, kv_dtype)
            if serial
            else attention_fit(calibration, family, kv_dtype, head_dim, window)
        )
        if fit is not None:
            guessed = window is not None and not serial and not fit.variant.endswith(WINDOWED)
            yield fit, {**shape, **quantities}, guessed
