"""Attention at measured times: the fits that price a class of layers, by number format, head size and window."""

from __future__ import annotations

from math import log

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.kernels import Kernel, decode_kernel, prefill_kernel
from ctxsim.cost.calibrated.modules import module_kernel
from ctxsim.cost.compiling import attention_name
from ctxsim.cost.curves import (
    decode_attention_s,
    masked_prefill_s,
    mixed_attention_s,
    prefill_attention_s,
    serial_decode_s,
)
from ctxsim.cost.curves.mixed import TILE_QUERIES
from ctxsim.cost.weights import plain_bytes, plain_dtype
from ctxsim.geometry import KV_DTYPES, ContextClass, Read
from ctxsim.spec.calibration import WINDOWED, Calibration, Family, Fit
from ctxsim.spec.model import Attention
from ctxsim.spec.scenario import Scenario


def attention_kernel(scenario: Scenario, bench: Bench, c: ContextClass, read: Read, index: int) -> Kernel | None:
    """The kernel of one read of a class of layers; None where the calibration has no fit for it."""
    mixer, span = c.mixer, read.span
    if _unlike_any(c, read):
        return None
    if not isinstance(mixer, Attention):
        return module_kernel(scenario, bench, c, read, index)
    if span.kind == "fixed":
        return None  # nobody has measured a kernel of regions and abstractions
    ranks, kv_dtype = scenario.deployment.tensor_parallel, scenario.serving.kv_dtype
    heads, kv_heads = -(-mixer.num_heads // ranks), -(-mixer.num_kv_heads // ranks)
    head_dim = (mixer.qk_head_dim + mixer.v_head_dim) / 2
    name = attention_name(c, span)
    # What is left of a context after others went is read as a whole, however many tokens that are.
    window = span.tokens if span.kind == "sliding" and mixer.kind == "sliding" else None
    plain = plain_dtype(scenario.serving.weight_dtype)
    serial = _serial_kernel(bench, c, read, index, kv_dtype)
    if serial is not None:
        return serial
    if span.phase == "decode":
        whole = attention_fit(bench.calibration, "decode_attention", kv_dtype, head_dim)
        filled = attention_fit(bench.calibration, "decode_attention", kv_dtype, head_dim, window)
        value_bytes = KV_DTYPES[kv_dtype].bytes_per_value(mixer.qk_head_dim)

        def decode_s(sequences: float, context: float) -> float:
            """A window that is not yet full is attention to the whole context."""
            context *= read.touched_ratio
            fit = whole if window is None or context < window else filled
            assert fit is not None
            seconds = decode_attention_s(
                bench.device, fit, sequences, max(1.0, context), heads, kv_heads, head_dim, value_bytes,
                plain_bytes(plain),
            )  # fmt: skip
            return c.layers * fit.scale * float(seconds)

        mixed = attention_fit(bench.calibration, "mixed_attention", kv_dtype, head_dim)

        def beside_s(sequences: float, tiles: float, context: float) -> float:
            assert mixed is not None
            chunk, context = tiles * TILE_QUERIES, max(1.0, context * read.touched_ratio)
            seconds = mixed_attention_s(
                bench.device, mixed, sequences, context, chunk, heads, kv_heads, head_dim, value_bytes
            )
            return c.layers * mixed.scale * float(seconds)

        return None if whole is None else decode_kernel(name, index, decode_s, None if mixed is None else beside_s)
    fit = attention_fit(bench.calibration, "prefill_attention", kv_dtype, head_dim, window)

    def prefill_s(chunks: float, new: float, past: float) -> float:
        assert fit is not None
        seconds = prefill_attention_s(bench.device, fit, chunks, new, past, heads, kv_heads, head_dim, window, plain)
        return c.layers * fit.scale * float(seconds)

    return None if fit is None else prefill_kernel(name, index, span, prefill_s)


def _unlike_any(c: ContextClass, read: Read) -> bool:
    """Whether such reads were never measured: of selected tokens and their summaries, of one query to all of a prompt's
    tokens, of some of the queries."""
    picks = c.rows == "pages" or (read.span.kind == "topk" and c.mixer.keeping.selection is not None)
    return picks or read.last_query or c.mixer.keeping.query_ratio != 1.0


def _serial_kernel(bench: Bench, c: ContextClass, read: Read, index: int, dtype: str) -> Kernel | None:
    """Attention that is called sequence by sequence on one device, where that was measured."""
    mixer, span = c.mixer, read.span
    assert isinstance(mixer, Attention)
    head_dim = mixer.qk_head_dim
    family: Family = "serial_decode" if span.phase == "decode" else "masked_prefill"
    fit = bench.calibration.fit(family, dtype)
    if fit is None:
        return None
    run_s = c.layers * fit.scale

    def decode_s(sequences: float, context: float) -> float:
        shape = (sequences, max(1.0, context * read.touched_ratio), mixer.num_heads, mixer.num_kv_heads, head_dim)
        return run_s * float(serial_decode_s(bench.device, fit, dtype, *shape))

    def prefill_s(chunks: float, new: float, past: float) -> float:
        shape = (chunks, new, past, mixer.num_heads, head_dim)
        return run_s * float(masked_prefill_s(bench.device, fit, dtype, *shape))

    if span.phase == "decode":
        return decode_kernel(attention_name(c, span), index, decode_s)
    return prefill_kernel(attention_name(c, span), index, span, prefill_s)


def attention_fit(
    calibration: Calibration, family: Family, kv_dtype: str, head_dim: float, window: int | None = None
) -> Fit | None:
    """The fit of the KV format and head size (variants are ``bf16-128``, ``bf16-128-windowed`` and the like).

    Of prefill in a narrower format that was not measured, that of bf16; of a size, the nearest. Of a window, where
    there is no fit of windows, that of full attention.
    """
    windowed = [name for name in calibration.variants(family) if name.endswith(WINDOWED)]
    full = [name for name in calibration.variants(family) if not name.endswith(WINDOWED)]
    found = _nearest_fit(calibration, family, windowed, kv_dtype, head_dim) if window is not None else None
    return found or _nearest_fit(calibration, family, full, kv_dtype, head_dim)


def _nearest_fit(
    calibration: Calibration, family: Family, variants: list[str], kv_dtype: str, head_dim: float
) -> Fit | None:
    wider = family == "prefill_attention" and kv_dtype != "fp32"
    for dtype in (kv_dtype, "bf16") if wider else (kv_dtype,):
        sizes = {int(name.split("-")[1]): name for name in variants if name.startswith(f"{dtype}-")}
        if sizes:
            nearest = min(sizes, key=lambda size: abs(log(size / head_dim)))
            return calibration.fit(family, sizes[nearest])
    return None
