"""From a scenario and a calibration to priced operations; what the calibration has no fit for is left to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import log

from ctxsim.cost.calibrated.kernels import Kernel, decode_kernel, prefill_kernel
from ctxsim.cost.calibrated.products import Per, RankProduct, rank_products
from ctxsim.cost.calibrated.tariffs import Tariff
from ctxsim.cost.compiling import attention_name
from ctxsim.cost.curves import (
    Device,
    all_reduce_s,
    decode_attention_s,
    elementwise_s,
    gemm_s,
    host_s,
    masked_prefill_s,
    packed_gemm_s,
    prefill_attention_s,
    serial_decode_s,
)
from ctxsim.cost.curves.elementwise import PASSES, small_variant
from ctxsim.cost.weights import plain_bytes, plain_dtype
from ctxsim.geometry import KV_DTYPES, ContextClass, Span
from ctxsim.spec.calibration import Calibration, Family, Fit
from ctxsim.spec.model import Attention, Layer
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

CUSTOM_MOST_BYTES = parse("8 MiB", "bytes")
"""vLLM's own all-reduce is not used for larger buffers (CustomAllreduce, max_size)."""

NORMS = 2
"""Norms of a layer: before attention and before the feed-forward."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What prices come from: a device and its calibration."""

    device: Device
    calibration: Calibration


def priced_operations(scenario: Scenario, bench: Bench) -> list[Tariff]:
    """Every operation without context that the calibration can price."""
    return [
        *_products(scenario, bench),
        *_elementwise(scenario, bench),
        *_all_reduce(scenario, bench),
        *_host(bench),
    ]


def priced_kernels(scenario: Scenario, bench: Bench, classes: tuple[ContextClass, ...]) -> list[Kernel]:
    """Every attention kernel that the calibration can price; classes list prefill and decode apart."""
    kernels: list[Kernel] = []
    index = 0
    for c in classes:
        for span in c.spans:
            kernel = _kernel(scenario, bench, c, span, index)
            kernels += [] if kernel is None else [kernel]
            index += 1
    return kernels


def _products(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    serving = scenario.serving
    for product in rank_products(scenario.model, scenario.deployment.tensor_parallel):
        dtype = serving.weight_dtype if product.quantized else plain_dtype(serving.weight_dtype)
        fit = product_fit(bench.calibration, dtype)
        if fit is not None and product.experts == 1:
            price = partial(_product_s, bench, fit, dtype, product)
            yield Tariff(product.operation, fit.family, product.per, product.runs, price)


def _product_s(bench: Bench, fit: Fit, dtype: str, product: RankProduct, rows: int) -> float:
    form = packed_gemm_s if fit.family == "packed_gemm" else gemm_s
    return fit.scale * float(form(bench.device, fit, dtype, rows, product.outputs, product.inputs))


def product_fit(calibration: Calibration, dtype: str) -> Fit | None:
    """The fit of products in that format: of tiles, or of a CPU that packs its weights."""
    return calibration.fit("gemm", dtype) or calibration.fit("packed_gemm", dtype)


def _kernel(scenario: Scenario, bench: Bench, c: ContextClass, span: Span, index: int) -> Kernel | None:
    mixer = c.mixer
    if not isinstance(mixer, Attention):
        return None
    ranks, kv_dtype = scenario.deployment.tensor_parallel, scenario.serving.kv_dtype
    heads, kv_heads = mixer.num_heads // ranks, max(1, mixer.num_kv_heads // ranks)
    head_dim = (mixer.qk_head_dim + mixer.v_head_dim) / 2
    name = attention_name(c, span)
    plain = plain_dtype(scenario.serving.weight_dtype)
    serial = _serial_kernel(bench, c, span, index, kv_dtype)
    if serial is not None:
        return serial
    if span.phase == "decode":
        fit = attention_fit(bench.calibration, "decode_attention", kv_dtype, head_dim)
        value_bytes = KV_DTYPES[kv_dtype].bytes_per_value(mixer.qk_head_dim)

        def decode_s(sequences: float, context: float) -> float:
            assert fit is not None
            seconds = decode_attention_s(
                bench.device, fit, sequences, max(1.0, context), heads, kv_heads, head_dim, value_bytes,
                plain_bytes(plain),
            )  # fmt: skip
            return c.layers * fit.scale * float(seconds)

        return None if fit is None else decode_kernel(name, index, decode_s)
    fit = attention_fit(bench.calibration, "prefill_attention", kv_dtype, head_dim)
    window = span.tokens if span.kind == "sliding" else None

    def prefill_s(chunks: float, new: float, past: float) -> float:
        assert fit is not None
        seconds = prefill_attention_s(bench.device, fit, chunks, new, past, heads, kv_heads, head_dim, window, plain)
        return c.layers * fit.scale * float(seconds)

    return None if fit is None else prefill_kernel(name, index, span, prefill_s)


def _serial_kernel(bench: Bench, c: ContextClass, span: Span, index: int, dtype: str) -> Kernel | None:
    """Attention that is called sequence by sequence on one device, where that was measured."""
    mixer = c.mixer
    assert isinstance(mixer, Attention)
    head_dim = mixer.qk_head_dim
    family: Family = "serial_decode" if span.phase == "decode" else "masked_prefill"
    fit = bench.calibration.fit(family, dtype)
    if fit is None:
        return None
    run_s = c.layers * fit.scale

    def decode_s(sequences: float, context: float) -> float:
        shape = (sequences, max(1.0, context), mixer.num_heads, mixer.num_kv_heads, head_dim)
        return run_s * float(serial_decode_s(bench.device, fit, dtype, *shape))

    def prefill_s(chunks: float, new: float, past: float) -> float:
        shape = (chunks, new, past, mixer.num_heads, head_dim)
        return run_s * float(masked_prefill_s(bench.device, fit, dtype, *shape))

    if span.phase == "decode":
        return decode_kernel(attention_name(c, span), index, decode_s)
    return prefill_kernel(attention_name(c, span), index, span, prefill_s)


def attention_fit(calibration: Calibration, family: Family, kv_dtype: str, head_dim: float) -> Fit | None:
    """The fit of the KV format and head size (variants are ``bf16-128`` and the like).

    Of prefill in a narrower format that was not measured, that of bf16; of a size, the nearest.
    """
    variants = calibration.variants(family)
    for dtype in (kv_dtype, "bf16") if family == "prefill_attention" and kv_dtype != "fp32" else (kv_dtype,):
        sizes = {int(name.partition("-")[2]): name for name in variants if name.startswith(f"{dtype}-")}
        if sizes:
            nearest = min(sizes, key=lambda size: abs(log(size / head_dim)))
            return calibration.fit(family, sizes[nearest])
    return None


def _elementwise(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """Embedding, norms with their residual sums, rotary embedding, activation functions, KV stored, tokens chosen."""
    model, ranks = scenario.model, scenario.deployment.tensor_parallel
    if model.embedding_parameters:
        yield from _moved(scenario, bench, "embedding", "embedding", 1, PASSES["embedding"] * model.hidden_size)
    for layer, number in model.layer_counts.items():
        yield from _moved(scenario, bench, "norms", "norm", NORMS * number, PASSES["norm"] * model.hidden_size)
        for operation, values in _by_rank(layer, ranks).items():
            yield from _moved(scenario, bench, operation, operation, number, values)
    yield from _moved(
        scenario, bench, "sampling", "sampling", 1, PASSES["sampling"] * model.vocab_size / ranks, "sequences"
    )


def _moved(
    scenario: Scenario, bench: Bench, operation: str, variant: str, runs: int, values: float, per: Per = "tokens"
) -> Iterator[Tariff]:
    """An operation that moves so many values a token or sequence; nothing where it was not measured."""
    dtype = plain_dtype(scenario.serving.weight_dtype)
    fit = bench.calibration.fit("elementwise", small_variant(variant, dtype))
    if fit is not None:
        yield Tariff(operation, "elementwise", per, runs, partial(_moved_s, bench, fit, plain_bytes(dtype) * values))


def _by_rank(layer: Layer, ranks: int) -> dict[str, float]:
    """Values a token that one rank reads and writes in the small kernels of a layer."""
    values: dict[str, float] = {}
    if isinstance(layer.mixer, Attention):
        mixer = layer.mixer
        rotated = mixer.num_heads / ranks + max(1, mixer.num_kv_heads / ranks)
        values["rotary"] = PASSES["rotary"] * rotated * mixer.qk_head_dim
        values["kv_store"] = (
            PASSES["kv_store"] * max(1, mixer.num_kv_heads / ranks) * (mixer.qk_head_dim + mixer.v_head_dim)
        )
    widths = [m.products[-1].inputs for m in layer.feed_forward if m.products and m.operation == "mlp"]
    if widths:
        values["activation"] = PASSES["activation"] * sum(widths) / ranks
    return values


def _moved_s(bench: Bench, fit: Fit, bytes_per_token: float, tokens: int) -> float:
    return fit.scale * float(elementwise_s(bench.device, fit, tokens * bytes_per_token))


def _all_reduce(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """The fastest transport that was measured, each time."""
    ranks, model = scenario.deployment.tensor_parallel, scenario.model
    names = bench.calibration.variants("all_reduce")
    fits = [fit for name in names if (fit := bench.calibration.fit("all_reduce", name)) is not None]
    if ranks == 1 or not fits or bench.device.link_bytes_per_s is None:
        return
    reductions = sum(layer.all_reduces * number for layer, number in model.layer_counts.items() if layer.matrices)

    def price(tokens: int) -> float:
        sent = tokens * model.hidden_size * plain_bytes(scenario.serving.weight_dtype)
        usable = [fit for fit in fits if fit.variant != "custom" or sent <= CUSTOM_MOST_BYTES] or fits
        return min(fit.scale * float(all_reduce_s(bench.device, fit, sent, ranks)) for fit in usable)

    yield Tariff("all_reduce", "all_reduce", "tokens", reductions, price)


def _host(bench: Bench) -> Iterator[Tariff]:
    for name in bench.calibration.variants("host"):
        fit = bench.calibration.fit("host", name)
        if fit is not None:
            yield Tariff(f"host {name}", "host", "sequences", 1, partial(_host_s, bench, fit))


def _host_s(bench: Bench, fit: Fit, sequences: int) -> float:
    return fit.scale * float(host_s(fit, sequences))
