"""Which tables, forms and sources make which calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ctxsim.calibrate import (
    collective,
    decode,
    elementwise,
    experts,
    gemm,
    host,
    latent,
    linear,
    llmservingsim,
    mixed,
    modules,
    prefill,
    sparse,
    tables,
    vidur,
)
from ctxsim.calibrate.form import Form, every_row
from ctxsim.calibrate.splits import by_columns
from ctxsim.errors import Fault, SpecError, nearest
from ctxsim.spec.calibration import Family

Reader = Callable[[Path], pd.DataFrame]

VIDUR_GEMM = replace(gemm.FORM, axes=(), splits=by_columns("n", "k"), left_out="products (all rows of one n and k)")
"""Vidur has few products, of two models: what they leave over says nothing of others, and makes no grid."""

_DENSE_M = (1.0, 16.0, *(32.0 * count for count in range(1, 9)), *(128.0 * count for count in range(3, 17)))
ONE_MODEL = {
    "gemm": replace(
        gemm.FORM,
        axes=(("m", _DENSE_M), *gemm.FORM.axes[1:]),
        splits=by_columns("n", "k"),
        left_out="products (all rows of one n and k)",
    ),
    "elementwise": replace(elementwise.FORM, axes=(("moved_bytes", tuple(2.0**power for power in range(12, 31))),)),
    "decode_attention": replace(
        decode.FORM, splits=by_columns("batch"), left_out="numbers of sequences", weights=every_row
    ),
    "prefill_attention": replace(
        prefill.FORM,
        splits=by_columns("new_tokens"),
        left_out="sizes of chunks",
        grown="context_tokens",
        ranged=("new_tokens", "context_tokens"),
    ),
}
"""Forms for dense tables of one model's shapes, whose kernels ran in the sequence of a layer.

Whole geometries cannot be left out: there is one. Every row of decode attention counts, as what other kernels read in
between leaves nothing of its keys and values in the cache.
"""

_AICONFIGURATOR = (
    "NVIDIA aiconfigurator, github.com/ai-dynamo/aiconfigurator at 095f58a5 (2026-08-21), measured kernel tables, "
)
_VIDUR = "Microsoft Vidur, github.com/microsoft/vidur at 7d475133, measured profiles of "
_RTX = (
    "LLMServingSim, github.com/casys-kaist/LLMServingSim at 5daddb21, measured profile of an RTX PRO 6000 Blackwell "
    "Server Edition, vLLM 0.19, CUDA 13.0 (2026-04-24), Llama-3.1-8B in bf16, one accelerator"
)
_SMALL_KERNELS = (
    f"{_VIDUR}Meta-Llama-3-8B and 70B on an A100: each kernel's own time, one by one; the gaps between kernels of a "
    "CUDA graph are not in it"
)
_BORROWED = tuple((name, name) for name in ("embedding", "norm", "rotary", "activation"))
_STREAMED = (
    f"Start of each kernel: {_RTX} (small kernels as vLLM joins and vectorises them now). Bytes at the share of the "
    "bandwidth that reading keys and values reaches on this device: on the RTX the activation of 176 MB, more than its "
    "on-chip cache, reaches 1.04 of it, and on an A100 Vidur's residual sums reach more (0.89) than keys and values "
    "do (0.78)"
)
# vLLM writes new keys and values to the cache in a kernel of its own since 0.15 (pull request 25954); before that the
# attention tables have it. It was not timed alone anywhere here: it moves rows of heads as the rotary embedding does.


@dataclass(frozen=True, slots=True)
class Part:
    """Tables that one form follows: the reader, and the source to cite. only: of these variants, () for all."""

    form: Form
    reader: Reader
    source: str
    only: tuple[str, ...] = ()

    def rows(self, folder: Path) -> pd.DataFrame:
        """The rows of the form's family and variants."""
        rows = self.reader(folder)
        rows = rows[rows["family"] == self.form.family]
        return rows[rows["variant"].isin(self.only)] if self.only else rows


@dataclass(frozen=True, slots=True)
class Loan:
    """Fits of another calibration, for what a device's own tables have none of: coefficients as they are.

    variants: ours and theirs. source: to cite, which also says what is known of how far they apply here. streams_as: of
    small kernels the family and variant of ours, bound by memory alone, whose share of the bandwidth takes the place of
    theirs and of their grid: on-chip caches differ.
    """

    calibration: str
    family: Family
    variants: tuple[tuple[str, str], ...]
    source: str
    streams_as: tuple[Family, str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One calibration: the profile it is of, the folder of its tables, its parts and sources, and what it borrows.

    pasts: the name of a plan whose prompts have pasts, and the source to cite, where its own have none.
    """

    hardware: str
    folder: str
    description: str
    parts: tuple[Part, ...]
    sources: dict[str, str]
    loans: tuple[Loan, ...] = ()
    pasts: tuple[str, str] | None = None


def _kernels(source: str, *more: Part) -> tuple[Part, ...]:
    return (
        Part(gemm.FORM, tables.read_gemm, source, ("bf16",)),
        Part(decode.FORM, tables.read_decode, source),
        Part(prefill.FORM, tables.read_prefill, source),
        Part(collective.NCCL, tables.read_all_reduce, source, ("nccl",)),
        Part(collective.CUSTOM, tables.read_all_reduce, source, ("custom",)),
        Part(experts.FORM, tables.read_experts, source, ("bf16", "fp8", "fp8_block")),
        Part(latent.DECODE, modules.read_latent_decode, source),
        Part(latent.PREFILL, modules.read_latent_prefill, source),
        *more,
    )


PLANS = {
    "a100-80gb-sxm-vllm": Plan(
        hardware="a100-80gb-sxm",
        folder="aiconfigurator/a100_sxm",
        description="A100 SXM 80 GB, kernels of vLLM 0.14 one by one, at the clocks of short measurements.",
        parts=_kernels("vllm", Part(linear.FORM, tables.read_linear, "sglang")),
        sources={
            "vllm": f"{_AICONFIGURATOR}a100_sxm, vLLM 0.14, NCCL 2.27",
            "sglang": f"{_AICONFIGURATOR}a100_sxm, SGLang 0.5.10",
            "vidur": _SMALL_KERNELS,
            "pasts": _RTX,
        },
        loans=(Loan("a100-80gb-sxm-vidur", "elementwise", (*_BORROWED, ("add", "add")), "vidur"),),
        pasts=("rtx-pro-6000-vllm", "pasts"),
    ),
    "h200-sxm-vllm": Plan(
        hardware="h200-sxm",
        folder="aiconfigurator/h200_sxm",
        description="H200 SXM, kernels of vLLM 0.24 one by one, at the clocks of short measurements.",
        parts=_kernels(
            "vllm",
            Part(gemm.QUANTIZED, tables.read_gemm, "vllm", ("fp8", "fp8_block")),
            Part(linear.FORM, tables.read_linear, "vllm"),
            Part(sparse.FORM, modules.read_sparse, "vllm"),
            Part(experts.FOUR_BIT, tables.read_experts, "vllm", ("int4", "mxfp4")),
            Part(decode.WINDOWED_FORM, tables.read_windowed_decode, "vllm"),
            Part(prefill.FORM, tables.read_windowed_prefill, "vllm"),
        ),
        sources={
            "vllm": f"{_AICONFIGURATOR}h200_sxm, vLLM 0.24, NCCL 2.29",
            "small": _STREAMED,
            "pasts": _RTX,
        },
        loans=(
            Loan(
                "rtx-pro-6000-vllm",
                "elementwise",
                (*_BORROWED, ("kv_store", "rotary")),
                "small",
                streams_as=("decode_attention", "bf16-128"),
            ),
        ),
        pasts=("rtx-pro-6000-vllm", "pasts"),
    ),
    "a100-80gb-sxm-vidur": Plan(
        hardware="a100-80gb-sxm",
        folder="vidur",
        description="A100 SXM 80 GB, layers of Llama 3 in sequence, at sustained clocks; no attention.",
        parts=(
            Part(VIDUR_GEMM, vidur.read_layer_fits, "layers"),
            Part(elementwise.FORM, vidur.read_layer_fits, "layers"),
            Part(collective.NCCL, vidur.read_all_reduce, "network"),
            Part(host.FORM, vidur.read_host, "host"),
        ),
        sources={
            "layers": f"{_VIDUR}Meta-Llama-3-8B and 70B",
            "network": f"{_VIDUR}an A100 DGX's network",
            "host": f"{_VIDUR}vLLM's host on an A100 machine (2024), six models",
        },
    ),
    "rtx-pro-6000-vllm": Plan(
        hardware="rtx-pro-6000",
        folder="../serving/llmservingsim/RTXPRO6000/Llama-3.1-8B/kernels",
        description="RTX PRO 6000, kernels of vLLM 0.19 in the layers of Llama-3.1-8B, prompts in chunks after a past.",
        parts=(
            Part(ONE_MODEL["gemm"], llmservingsim.read_gemm, "vllm"),
            Part(ONE_MODEL["elementwise"], llmservingsim.read_elementwise, "vllm"),
            Part(ONE_MODEL["decode_attention"], llmservingsim.read_decode, "vllm"),
            Part(ONE_MODEL["prefill_attention"], llmservingsim.read_prefill, "vllm"),
            Part(mixed.FORM, llmservingsim.read_mixed, "vllm"),
        ),
        sources={
            "vllm": _RTX,
        },
    ),
}  # fmt: skip
"""By name of the calibration."""


def plan_of(name: str) -> Plan:
    """The plan of that name; raises SpecError with the names there are."""
    if name not in PLANS:
        known = ", ".join(PLANS)
        message = f"expected a calibration that tables can make ({known}), found {name}{nearest(name, PLANS)}"
        raise SpecError(Fault("", None, None, "name", message))
    return PLANS[name]
