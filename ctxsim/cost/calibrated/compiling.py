"""From a scenario and a calibration to priced operations; what the calibration has no fit for is left to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ctxsim.cost.calibrated.attention import attention_kernel
from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.experts import priced_experts
from ctxsim.cost.calibrated.kernels import Kernel
from ctxsim.cost.calibrated.modules import beside_modules, priced_modules
from ctxsim.cost.calibrated.products import RankProduct, rank_products
from ctxsim.cost.calibrated.small import priced_small_kernels
from ctxsim.cost.calibrated.states import priced_states
from ctxsim.cost.calibrated.tariffs import Priced, Tariff
from ctxsim.cost.compiling import reductions_of
from ctxsim.cost.curves import all_reduce_s, gemm_s, host_s, packed_gemm_s
from ctxsim.cost.weights import plain_bytes, plain_dtype
from ctxsim.geometry import ContextClass
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.domains import Domains
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

CUSTOM_MOST_BYTES = parse("8 MiB", "bytes")
"""vLLM's own all-reduce is not used for larger buffers (CustomAllreduce, max_size)."""


def priced_operations(scenario: Scenario, bench: Bench) -> list[Priced]:
    """Every operation without context that the calibration can price; no product twice."""
    return [
        *_products(scenario, bench),
        *priced_modules(scenario, bench),
        *priced_experts(scenario, bench),
        *priced_states(scenario, bench),
        *priced_small_kernels(scenario, bench),
        *_all_reduce(scenario, bench),
        *_host(bench),
    ]


def priced_kernels(scenario: Scenario, bench: Bench, classes: tuple[ContextClass, ...]) -> list[Kernel]:
    """Every attention kernel that the calibration can price; classes list prefill and decode apart."""
    kernels: list[Kernel] = []
    index = 0
    for c in classes:
        for read in c.reads:
            kernel = attention_kernel(scenario, bench, c, read, index)
            kernels += [] if kernel is None else [kernel]
            index += 1
    return kernels


def _products(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    serving = scenario.serving
    for product in rank_products(beside_modules(scenario, bench), scenario.deployment.tensor_parallel):
        dtype = serving.weight_dtype if product.quantized else plain_dtype(serving.weight_dtype)
        fit = product_fit(bench.calibration, dtype)
        if fit is not None and product.experts == 1:
            price = partial(_product_s, bench, fit, dtype, product)
            yield Tariff(product.operation, fit.family, product.per, product.runs, price)


def _product_s(bench: Bench, fit: Fit, dtype: str, product: RankProduct, rows: int) -> float:
    form = packed_gemm_s if fit.family == "packed_gemm" else gemm_s
    multiplied = rows if product.token_ratio == 1.0 else max(1, round(rows * product.token_ratio))
    return fit.scale_of(multiplied) * float(form(bench.device, fit, dtype, multiplied, product.outputs, product.inputs))


def product_fit(calibration: Calibration, dtype: str) -> Fit | None:
    """The fit of products in that format: of tiles, or of a CPU that packs its weights."""
    return calibration.fit("gemm", dtype) or calibration.fit("packed_gemm", dtype)


def _all_reduce(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """The fastest transport that was measured, each time; within a domain, what comes between has no measured time."""
    ranks, model = Domains.of(scenario.deployment, scenario.hardware).together, scenario.model
    names = bench.calibration.variants("all_reduce")
    fits = [fit for name in names if (fit := bench.calibration.fit("all_reduce", name)) is not None]
    if ranks == 1 or not fits or bench.device.link_bytes_per_s is None:
        return

    def price(tokens: int) -> float:
        sent = tokens * model.hidden_size * plain_bytes(scenario.serving.weight_dtype)
        usable = [fit for fit in fits if fit.variant != "custom" or sent <= CUSTOM_MOST_BYTES] or fits
        return min(fit.scale * float(all_reduce_s(bench.device, fit, sent, ranks)) for fit in usable)

    for name, (reductions, last_token_only) in reductions_of(model).items():
        yield Tariff(name, "all_reduce", "sequences" if last_token_only else "tokens", reductions, price)


def _host(bench: Bench) -> Iterator[Tariff]:
    for name in bench.calibration.variants("host"):
        fit = bench.calibration.fit("host", name)
        if fit is not None:
            yield Tariff(f"host {name}", "host", "sequences", 1, partial(_host_s, bench, fit))


def _host_s(bench: Bench, fit: Fit, sequences: int) -> float:
    return fit.scale * float(host_s(fit, sequences))
