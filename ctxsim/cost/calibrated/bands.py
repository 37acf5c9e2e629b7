"""How far calibrated times may be off: by family, at the shapes that a scenario runs.

A family's errors are taken to move together (a GEMM that is 5 % slower than predicted makes all of them so), those of
different families apart. That is the careful reading: errors that were independent would cancel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log

from ctxsim.cost.calibrated.compiling import attention_fit, product_fit
from ctxsim.cost.calibrated.products import rank_products
from ctxsim.cost.weights import plain_dtype
from ctxsim.spec.calibration import Family, Fit
from ctxsim.spec.model import Attention
from ctxsim.spec.scenario import Scenario

SERIAL = ("serial_decode", "masked_prefill")
"""Attention whose fits hold for all head sizes."""

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


def _shapes(scenario: Scenario, context_tokens: int) -> Iterator[tuple[Fit, Mapping[str, float]]]:
    """Every fit that prices something, with the shapes of a full chunk and of a single decode."""
    calibration, serving, ranks = scenario.calibration, scenario.serving, scenario.deployment.tensor_parallel
    assert calibration is not None
    chunk = min(serving.max_num_batched_tokens, context_tokens)
    for product in rank_products(scenario.model, ranks):
        dtype = serving.weight_dtype if product.quantized else plain_dtype(serving.weight_dtype)
        fit = product_fit(calibration, dtype)
        for rows in (1, chunk) if fit is not None and product.experts == 1 else ():
            assert fit is not None
            yield fit, {"m": rows, "n": product.outputs, "k": product.inputs}
    for mixer in {layer.mixer for layer in scenario.model.layer_counts}:
        if isinstance(mixer, Attention):
            heads, kv_heads = mixer.num_heads // ranks, max(1, mixer.num_kv_heads // ranks)
            shape = {"heads": heads, "kv_heads": kv_heads, "head_dim": mixer.qk_head_dim}
            yield from _attention(scenario, shape, chunk, context_tokens)
    families: tuple[Family, ...] = ("elementwise", "all_reduce", "copy", "host")
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
    families: dict[Family, dict[str, float]] = {
        "decode_attention": {"context_tokens": context_tokens},
        "serial_decode": {"context_tokens": context_tokens},
        "prefill_attention": {"new_tokens": chunk, "past_tokens": max(0, context_tokens - chunk)},
        "masked_prefill": {"new_tokens": chunk, "past_tokens": max(0, context_tokens - chunk)},
    }
    for family, tokens in families.items():
        serial = family in SERIAL
        calibration = scenario.calibration
        fit = calibration.fit(family, kv_dtype) if serial else attention_fit(calibration, family, kv_dtype, head_dim)
        if fit is not None:
            yield fit, {**shape, "batch": 1, **tokens}
