"""Routed experts at measured times, all of them on every rank and cut like any other product."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.products import Per
from ctxsim.cost.calibrated.tariffs import Tariff
from ctxsim.cost.curves import experts_s
from ctxsim.cost.curves.experts import EXPERT_FORMATS
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.model import Matrix
from ctxsim.spec.scenario import Scenario

# Experts in fp8 are published with scales for blocks (DeepSeek-V3, Qwen3-235B-A22B-FP8): what was measured of these.
_VARIANTS = {"bf16": ("bf16",), "fp8": ("fp8_block", "fp8"), "int4": ("int4", "mxfp4")}


def priced_experts(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """The routed experts of each kind of layer, where there is a fit of their weights' format."""
    ranks = scenario.deployment.tensor_parallel
    for layer, number in scenario.model.layer_counts.items():
        for matrix in routed_experts(layer.feed_forward):
            fit = experts_fit(bench.calibration, scenario.serving.weight_dtype, matrix)
            if fit is not None:
                per: Per = "sequences" if layer.last_token_only else "tokens"
                price = partial(_experts_s, bench, fit, matrix, ranks)
                yield Tariff(layer.named("experts"), "experts", per, number, price)


def routed_experts(feed_forward: tuple[Matrix, ...]) -> Iterator[Matrix]:
    """The experts among a layer's matrices, as far as the shapes of one are known."""
    return (matrix for matrix in feed_forward if matrix.experts > 1 and matrix.products)


def experts_fit(calibration: Calibration, weight_dtype: str, matrix: Matrix) -> Fit | None:
    """The first fit of the format that was measured at such a shape, else the first of the format."""
    names = _VARIANTS.get(weight_dtype, ())
    fits = [fit for name in names if (fit := calibration.fit("experts", name)) is not None]
    shape = experts_shape(matrix)
    measured = (fit for fit in fits if all(low <= shape.get(name, low) <= high for name, low, high in fit.measured))
    return next(measured, fits[0] if fits else None)


def experts_shape(matrix: Matrix) -> dict[str, float]:
    """What a model's experts are known by, whatever the cut."""
    return {"hidden": matrix.products[0].inputs, "experts": matrix.experts, "top_k": matrix.experts_per_token}


def _experts_s(bench: Bench, fit: Fit, matrix: Matrix, ranks: int, tokens: int) -> float:
    dtype, weight_bytes = EXPERT_FORMATS[fit.variant]
    down = matrix.products[-1]
    width = -(-down.inputs // ranks)
    shape = (down.outputs, width, matrix.experts_per_token, matrix.experts, matrix.experts)
    return fit.scale * float(experts_s(bench.device, fit, dtype, tokens, *shape, weight_bytes))
