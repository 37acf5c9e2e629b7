"""How far calibrated times may be off: by family, at the shapes that a scenario runs.

A family's errors are taken to move together (a GEMM that is 5 % slower than predicted makes all of them so), those of
different families apart. That is the careful reading: errors that were independent would cancel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log
from typing import NamedTuple

from ctxsim.cost.calibrated.compiling import attention_fit
from ctxsim.cost.calibrated.products import rank_products
from ctxsim.spec.calibration import Family, Fit
from ctxsim.spec.model import Attention
from ctxsim.spec.scenario import Scenario

GUESS_FACTOR = 2.0
"""On the spread of a calibration that was measured on another device of the same architecture."""


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
    return fit.spread_ratio + fit.spread_growth_ratio * beyond(fit, **quantities)


def family_spreads(scenario: Scenario, context_tokens: int) -> dict[str, float]:
    """By family, the widest spread at the shapes of a scenario whose contexts reach so many tokens."""
    assert scenario.calibration is not None
    guess = GUESS_FACTOR if scenario.calibration.hardware != scenario.hardware.name else 1.0
    spreads: dict[str, float] = {}
    for fit, quantities in _shapes(scenario, context_tokens):
        spreads[fit.family] = max(spreads.get(fit.family, 0.0), guess * spread_ratio(fit, **quantities))
    return spreads


class Outside(NamedTuple):
    """A quantity that lies outside of what was measured for a fit, and what the fit's spread becomes there."""

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
    for fit, quantities in _shapes(scenario, context_tokens):
        for name, least, most in fit.measured:
            how_far = beyond(fit, **{name: quantities[name]}) if name in quantities else 0.0
            key = (fit.family, fit.variant, name)
            if how_far > furthest.get(key, (0.0, None))[0]:
                here = spread_ratio(fit, **quantities)
                found = Outside(*key, quantities[name], least, most, fit.spread_ratio, here)
                furthest[key] = how_far, found
    return [found for _, found in furthest.values()]


def _shapes(scenario: Scenario, context_tokens: int) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    """Every fit that prices something, with the shapes of a full chunk and of a single decode."""
    calibration, serving, ranks = scenario.calibration, scenario.serving, scenario.deployment.tensor_parallel
    assert calibration is not None
    chunk = min(serving.max_num_batched_tokens, context_tokens)
    for product in rank_products(scenario.model, ranks):
        fit = calibration.fit("gemm", serving.weight_dtype if product.quantized else "bf16")
        for rows in (1, chunk) if fit is not None and product.experts == 1 else ():
            assert fit is not None
            yield fit, {"m": rows, "n": product.outputs, "k": product.inputs}
    for mixer in {layer.mixer for layer in scenario.model.layer_counts}:
        if isinstance(mixer, Attention):
            heads, kv_heads = mixer.num_heads // ranks, max(1, mixer.num_kv_heads // ranks)
            shape = {"heads": heads, "kv_heads": kv_heads, "head_dim": mixer.qk_head_dim}
            yield from _attention(scenario, shape, chunk, context_tokens)
    families: tuple[Family, ...] = ("elementwise", "all_reduce", "host")
    for family in families:
        for variant in calibration.variants(family):
            fit = calibration.fit(family, variant)
            if fit is not None and (ranks > 1 or family != "all_reduce"):
                yield fit, {}


def _attention(
    scenario: Scenario, shape: Mapping[str, float], chunk: int, context_tokens: int
) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    assert scenario.calibration is not None
    kv_dtype, head_dim = scenario.serving.kv_dtype, shape["head_dim"]
    decode = attention_fit(scenario.calibration, "decode_attention", kv_dtype, head_dim)
    if decode is not None:
        yield decode, {**shape, "batch": 1, "context_tokens": context_tokens}
    prefill = attention_fit(scenario.calibration, "prefill_attention", kv_dtype, head_dim)
    if prefill is not None:
        yield prefill, {**shape, "batch": 1, "new_tokens": chunk, "past_tokens": max(0, context_tokens - chunk)}
