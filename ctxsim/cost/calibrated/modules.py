"""Latent attention at measured times, dense or with an indexer: what surrounds it, and its kernels.

Times were measured of whole modules, projections included, or of attention with its up-projection. What surrounds the
kernels (launches, projections, norms) runs once for all tokens of an iteration, and is priced by the fit of prompts
where there are any of these; the kernels of prompts and of decode are priced each by its own fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.kernels import Kernel, decode_kernel, prefill_kernel
from ctxsim.cost.calibrated.tariffs import PhasedTariff
from ctxsim.cost.compiling import LATENT_UP_PROJECTION, attention_name
from ctxsim.cost.curves.latent import (
    ATTENTION,
    MODULE,
    latent_decode_core_s,
    latent_prefill_core_s,
    module_s,
)
from ctxsim.cost.curves.sparse import sparse_core_s, sparse_index_s
from ctxsim.cost.weights import copies
from ctxsim.geometry import KV_DTYPES, ContextClass, Read
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.model import LatentAttention, Layer, ModelSpec
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Serving


@dataclass(frozen=True, slots=True)
class ModuleFits:
    """The fits of prompts and of decode; whole: whether their times include all projections of the layer."""

    prefill: Fit
    decode: Fit
    weight_dtype: str
    whole: bool


def module_fits(
    calibration: Calibration, mixer: LatentAttention, kv_dtype: str, weight_dtype: str
) -> ModuleFits | None:
    """The fits of a mixer in these formats of latent rows and weights; None unless both phases have one.

    Attention without its module was measured in bf16 weights alone, and of these is the up-projection only. Prompts
    that read a window of latent rows were not measured.
    """
    if mixer.keeping.windowed_prompts:
        return None
    if mixer.index_topk is not None:
        formats = f"{kv_dtype}-{weight_dtype}"
        prefill = calibration.fit("sparse_attention", f"prefill-{formats}")
        decode = calibration.fit("sparse_attention", f"decode-{formats}")
        return ModuleFits(prefill, decode, weight_dtype, whole=True) if prefill and decode else None
    for what, weights in ((MODULE, weight_dtype), (ATTENTION, "bf16")):
        variant = f"{what}-{kv_dtype}-{weights}"
        prefill, decode = calibration.fit("latent_prefill", variant), calibration.fit("latent_decode", variant)
        if prefill and decode:
            return ModuleFits(prefill, decode, weights, whole=what == MODULE)
    return None


def priced_modules(scenario: Scenario, bench: Bench) -> Iterator[PhasedTariff]:
    """What surrounds the kernels, in place of the projections that were measured with them."""
    ranks, serving = scenario.deployment.tensor_parallel, scenario.serving
    for layer, number in scenario.model.layer_counts.items():
        mixer = layer.mixer
        if not isinstance(mixer, LatentAttention):
            continue
        fits = module_fits(bench.calibration, mixer, serving.kv_dtype, serving.weight_dtype)
        if fits is not None:
            price = partial(_module_s, bench, fits, mixer.num_heads // ranks, _weights(mixer, fits, ranks))
            yield PhasedTariff("attention module", number, price, _included(mixer, fits))


def beside_modules(scenario: Scenario, bench: Bench) -> ModelSpec:
    """The model without the projections whose time is in that of what surrounds the kernels."""
    layers = {layer: _beside_module(layer, scenario.serving, bench) for layer in scenario.model.layer_counts}
    return replace(scenario.model, layers=tuple(layers[layer] for layer in scenario.model.layers))


def _beside_module(layer: Layer, serving: Serving, bench: Bench) -> Layer:
    mixer = layer.mixer
    if not isinstance(mixer, LatentAttention):
        return layer
    fits = module_fits(bench.calibration, mixer, serving.kv_dtype, serving.weight_dtype)
    included = () if fits is None else _included(mixer, fits)
    matrices = tuple(matrix for matrix in mixer.matrices if matrix.operation not in included)
    return replace(layer, mixer=replace(mixer, matrices=matrices))


def module_kernel(scenario: Scenario, bench: Bench, c: ContextClass, read: Read, index: int) -> Kernel | None:
    """The kernel of one read of latent attention, where the calibration has the fits."""
    serving, mixer, span = scenario.serving, c.mixer, read.span
    assert isinstance(mixer, LatentAttention)
    fits = module_fits(bench.calibration, mixer, serving.kv_dtype, serving.weight_dtype)
    if fits is None:
        return None
    ranks = scenario.deployment.tensor_parallel
    name, value_bytes = attention_name(c, span), KV_DTYPES[serving.kv_dtype].bytes_per_value(mixer.kv_lora_rank)
    of_rank = _RankKernel(bench, mixer, fits, mixer.num_heads // ranks, value_bytes, c.rows == "index", ranks)
    if span.phase == "decode":
        kept = read.touched_ratio
        return decode_kernel(name, index, lambda batch, context: c.layers * of_rank.decode_s(batch, context * kept))
    return prefill_kernel(name, index, span, lambda *sizes: c.layers * of_rank.prefill_s(*sizes))


@dataclass(frozen=True, slots=True)
class _RankKernel:
    """Seconds of one layer's kernel on one rank; ``indexes``: of the indexer, not of the attention."""

    bench: Bench
    mixer: LatentAttention
    fits: ModuleFits
    heads: int
    value_bytes: float
    indexes: bool
    ranks: int

    def decode_s(self, batch: float, context: float) -> float:
        fit, mixer, device = self.fits.decode, self.mixer, self.bench.device
        if mixer.index_topk is not None:
            return self._sparse_s(fit, batch, 1.0, max(0.0, context - 1))
        sizes = (batch, max(1.0, context), self.heads, mixer.kv_lora_rank, mixer.qk_rope_head_dim, self.value_bytes)
        return fit.scale * float(latent_decode_core_s(device, fit, *sizes))

    def prefill_s(self, chunks: float, new: float, past: float) -> float:
        fit, mixer, device = self.fits.prefill, self.mixer, self.bench.device
        if mixer.index_topk is not None:
            return self._sparse_s(fit, chunks, new, past)
        key_dim = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim
        expanded = sum(m.parameters for m in mixer.matrices if m.operation == LATENT_UP_PROJECTION) / self.ranks
        sizes = (chunks, new, past, self.heads, key_dim, mixer.v_head_dim, expanded)
        return fit.scale * float(latent_prefill_core_s(device, fit, *sizes, self.fits.weight_dtype))

    def _sparse_s(self, fit: Fit, batch: float, new: float, past: float) -> float:
        """The indexer is whole on every rank."""
        mixer, device = self.mixer, self.bench.device
        if self.indexes:
            index = (mixer.index_num_heads, mixer.index_head_dim)
            return fit.scale * float(sparse_index_s(device, fit, batch, new, past, *index))
        assert mixer.index_topk is not None
        rows = (mixer.index_topk, mixer.kv_lora_rank, mixer.qk_rope_head_dim, self.value_bytes)
        return fit.scale * float(sparse_core_s(device, fit, batch, new, past, self.heads, *rows))


def _included(mixer: LatentAttention, fits: ModuleFits) -> tuple[str, ...]:
    """Names of the products whose time is in the fits'."""
    operations = (matrix.operation for matrix in mixer.matrices)
    return tuple(dict.fromkeys(name for name in operations if fits.whole or name == LATENT_UP_PROJECTION))


def _weights(mixer: LatentAttention, fits: ModuleFits, ranks: int) -> float:
    """Weights of those products on one rank."""
    included = [matrix for matrix in mixer.matrices if matrix.operation in _included(mixer, fits)]
    return sum(matrix.parameters * copies(matrix, ranks) / ranks for matrix in included)


def _module_s(
    bench: Bench, fits: ModuleFits, heads: int, weights: float, chunks: int, tokens: int, decoding: int
) -> float:
    fit = fits.prefill if tokens else fits.decode
    return fit.scale * float(module_s(bench.device, fit, tokens + decoding, heads, weights, fits.weight_dtype))
