"""From a scenario and a calibration to priced operations; what the calibration has no fit for is left to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import log

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.experts import priced_experts
from ctxsim.cost.calibrated.kernels import Kernel, decode_kernel, prefill_kernel
from ctxsim.cost.calibrated.modules import module_kernel, priced_modules
from ctxsim.cost.calibrated.products import Per, RankProduct, rank_products
from ctxsim.cost.calibrated.states import priced_states
from ctxsim.cost.calibrated.tariffs import Priced, Tariff
from ctxsim.cost.compiling import attention_name
from ctxsim.cost.curves import (
    all_reduce_s,
    decode_attention_s,
    elementwise_s,
    gemm_s,
    host_s,
    mixed_attention_s,
    prefill_attention_s,
)
from ctxsim.cost.curves.mixed import TILE_QUERIES
from ctxsim.geometry import KV_DTYPES, ContextClass, Span
from ctxsim.spec.calibration import WINDOWED, Calibration, Family, Fit
from ctxsim.spec.model import Attention, Layer
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

HALF_BYTES = 2
CUSTOM_MOST_BYTES = parse("8 MiB", "bytes")
"""vLLM's own all-reduce is not used for larger buffers (CustomAllreduce, max_size)."""

EMBEDDING_PASSES = 2
"""A look-up reads a row and writes it."""

# The small kernels of a pass are those that vLLM runs one by one, or as torch.compile joins them
# (vllm/model_executor/models/llama.py; docs.vllm.ai, design/fusions): in a layer two norms with their residual sums,
# the rotary embedding, the write of keys and values to the cache, the activation; the embedding, and a norm after the
# last layer. Not counted, as nothing here timed them: choosing experts, norms over heads. Newer engines join some of
# these to each other, to the quantisation or to the all-reduce; what that saves is part of the spread.
NORMS = 2
"""Norms of a layer: before attention and before the feed-forward."""

NORM_PASSES = 4
"""A norm that adds the residual reads both and writes both."""

LONE_NORM_PASSES, ADD_PASSES = 2, 3
"""Where residual sums were measured on their own, norms were measured without: a row is read and written; a sum reads
two and writes one."""

GATED_PASSES = 3
"""An activation reads gate and up and writes one."""


def priced_operations(scenario: Scenario, bench: Bench) -> list[Priced]:
    """Every operation without context that the calibration can price; no product twice."""
    modules = list(priced_modules(scenario, bench))
    covered = {name for module in modules for name in module.covers}
    return [
        *(product for product in _products(scenario, bench) if product.operation not in covered),
        *modules,
        *priced_experts(scenario, bench),
        *priced_states(scenario, bench),
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
        dtype = serving.weight_dtype if product.quantized else "bf16"
        fit = bench.calibration.fit("gemm", dtype)
        if fit is not None and product.experts == 1:
            price = partial(_product_s, bench, fit, dtype, product)
            yield Tariff(product.operation, "gemm", product.per, product.runs, price)


def _product_s(bench: Bench, fit: Fit, dtype: str, product: RankProduct, rows: int) -> float:
    return fit.scale * float(gemm_s(bench.device, fit, dtype, rows, product.outputs, product.inputs))


def _kernel(scenario: Scenario, bench: Bench, c: ContextClass, span: Span, index: int) -> Kernel | None:
    mixer = c.mixer
    if not isinstance(mixer, Attention):
        return module_kernel(scenario, bench, c, span, index)
    ranks, kv_dtype = scenario.deployment.tensor_parallel, scenario.serving.kv_dtype
    heads, kv_heads = mixer.num_heads // ranks, max(1, mixer.num_kv_heads // ranks)
    head_dim = (mixer.qk_head_dim + mixer.v_head_dim) / 2
    name = attention_name(c, span)
    window = span.tokens if span.kind == "sliding" else None
    if span.phase == "decode":
        whole = attention_fit(bench.calibration, "decode_attention", kv_dtype, head_dim)
        filled = attention_fit(bench.calibration, "decode_attention", kv_dtype, head_dim, window)
        value_bytes = KV_DTYPES[kv_dtype].bytes_per_value(mixer.qk_head_dim)

        def decode_s(sequences: float, context: float) -> float:
            """A window that is not yet full is attention to the whole context."""
            fit = whole if window is None or context < window else filled
            assert fit is not None
            seconds = decode_attention_s(
                bench.device, fit, sequences, max(1.0, context), heads, kv_heads, head_dim, value_bytes
            )
            return c.layers * fit.scale * float(seconds)

        mixed = attention_fit(bench.calibration, "mixed_attention", kv_dtype, head_dim)

        def beside_s(sequences: float, tiles: float, context: float) -> float:
            assert mixed is not None
            chunk, context = tiles * TILE_QUERIES, max(1.0, context)
            seconds = mixed_attention_s(
                bench.device, mixed, sequences, context, chunk, heads, kv_heads, head_dim, value_bytes
            )
            return c.layers * mixed.scale * float(seconds)

        return None if whole is None else decode_kernel(name, index, decode_s, None if mixed is None else beside_s)
    fit = attention_fit(bench.calibration, "prefill_attention", kv_dtype, head_dim, window)

    def prefill_s(chunks: float, new: float, past: float) -> float:
        assert fit is not None
        seconds = prefill_attention_s(bench.device, fit, chunks, new, past, heads, kv_heads, head_dim, window)
        return c.layers * fit.scale * float(seconds)

    return None if fit is None else prefill_kernel(name, index, span, prefill_s)


def attention_fit(
    calibration: Calibration, family: Family, kv_dtype: str, head_dim: float, window: int | None = None
) -> Fit | None:
    """The fit of the KV format and head size (variants are ``bf16-128``, ``bf16-128-windowed`` and the like).

    Of prefill in a format that was not measured, that of bf16; of a size, the nearest. Of a window, where there is no
    fit of windows, that of full attention.
    """
    windowed = [name for name in calibration.variants(family) if name.endswith(WINDOWED)]
    full = [name for name in calibration.variants(family) if not name.endswith(WINDOWED)]
    found = _nearest_fit(calibration, family, windowed, kv_dtype, head_dim) if window is not None else None
    return found or _nearest_fit(calibration, family, full, kv_dtype, head_dim)


def _nearest_fit(
    calibration: Calibration, family: Family, variants: list[str], kv_dtype: str, head_dim: float
) -> Fit | None:
    for dtype in (kv_dtype, "bf16") if family == "prefill_attention" else (kv_dtype,):
        sizes = {int(name.split("-")[1]): name for name in variants if name.startswith(f"{dtype}-")}
        if sizes:
            nearest = min(sizes, key=lambda size: abs(log(size / head_dim)))
            return calibration.fit(family, sizes[nearest])
    return None


def _elementwise(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """Embedding, norms with residual sums, rotary embedding, writes to the KV cache, activations, the sampler."""
    model, ranks = scenario.model, scenario.deployment.tensor_parallel
    if model.embedding_parameters:
        yield from _moved(bench, "embedding", "embedding", 1, EMBEDDING_PASSES * model.hidden_size)
        yield from _norms(bench, 1, model.hidden_size)
    for layer, number in model.layer_counts.items():
        yield from _norms(bench, NORMS * number, model.hidden_size)
        for operation, values in _by_rank(layer, ranks).items():
            yield from _moved(bench, operation, operation, number, values)
    yield from _moved(bench, "sampler", "sampler", 1, model.vocab_size, "sequences")


def _norms(bench: Bench, runs: int, width: int) -> Iterator[Tariff]:
    apart = bench.calibration.fit("elementwise", "add") is not None
    yield from _moved(bench, "norms", "norm", runs, (LONE_NORM_PASSES if apart else NORM_PASSES) * width)
    yield from _moved(bench, "norms", "add", runs, ADD_PASSES * width)


def _moved(
    bench: Bench, operation: str, variant: str, runs: int, values: float, per: Per = "tokens"
) -> Iterator[Tariff]:
    """An operation that moves so many values a token, or a sequence; nothing where it was not measured."""
    fit = bench.calibration.fit("elementwise", variant)
    if fit is not None:
        yield Tariff(operation, "elementwise", per, runs, partial(_moved_s, bench, fit, HALF_BYTES * values))


def _by_rank(layer: Layer, ranks: int) -> dict[str, float]:
    """Values a token that one rank reads and writes in the small kernels of a layer."""
    values: dict[str, float] = {}
    if isinstance(layer.mixer, Attention):
        mixer = layer.mixer
        kv_heads = max(1, mixer.num_kv_heads / ranks)
        values["rotary"] = 2 * (mixer.num_heads / ranks + kv_heads) * mixer.qk_head_dim
        values["kv_store"] = 2 * kv_heads * (mixer.qk_head_dim + mixer.v_head_dim)
    dense = (m for m in layer.feed_forward if m.products and m.experts == 1 and m.operation != "router")
    widths = [m.products[-1].inputs for m in dense]
    if widths:
        values["activation"] = GATED_PASSES * sum(widths) / ranks
    return values


def _moved_s(bench: Bench, fit: Fit, bytes_each: float, number: int) -> float:
    return fit.scale * float(elementwise_s(bench.device, fit, number * bytes_each))


def _all_reduce(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """The fastest transport that was measured, each time."""
    ranks, model = scenario.deployment.tensor_parallel, scenario.model
    names = bench.calibration.variants("all_reduce")
    fits = [fit for name in names if (fit := bench.calibration.fit("all_reduce", name)) is not None]
    if ranks == 1 or not fits or bench.device.link_bytes_per_s is None:
        return
    reductions = sum(layer.all_reduces * number for layer, number in model.layer_counts.items() if layer.matrices)

    def price(tokens: int) -> float:
        sent = tokens * model.hidden_size * HALF_BYTES
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
