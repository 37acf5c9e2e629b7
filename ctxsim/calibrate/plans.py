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
    modules,
    prefill,
    sparse,
    tables,
    vidur,
)
from ctxsim.calibrate.form import Form
from ctxsim.calibrate.splits import by_columns
from ctxsim.errors import Fault, SpecError, nearest
from ctxsim.spec.calibration import Family

Reader = Callable[[Path], pd.DataFrame]

VIDUR_GEMM = replace(gemm.FORM, axes=(), splits=by_columns("n", "k"), left_out="products (all rows of one n and k)")
"""Vidur has few products, of two models: what they leave over says nothing of others, and makes no grid."""

_AICONFIGURATOR = (
    "NVIDIA aiconfigurator, github.com/ai-dynamo/aiconfigurator at 095f58a5 (2026-08-21), measured kernel tables, "
)
_VIDUR = "Microsoft Vidur, github.com/microsoft/vidur at 7d475133, measured profiles of "
_SMALL_KERNELS = (
    f"{_VIDUR}Meta-Llama-3-8B and 70B on an A100: each kernel's own time, one by one; the gaps between kernels of a "
    "CUDA graph are not in it"
)
_BORROWED = tuple((name, name) for name in ("embedding", "norm", "add", "rotary", "activation"))
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

    variants: ours and theirs. source: to cite, which also says what is known of how far they apply here.
    """

    calibration: str
    family: Family
    variants: tuple[tuple[str, str], ...]
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One calibration: the profile it is of, the folder of its tables, its parts and sources, and what it borrows."""

    hardware: str
    folder: str
    description: str
    parts: tuple[Part, ...]
    sources: dict[str, str]
    loans: tuple[Loan, ...] = ()


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
        },
        loans=(Loan("a100-80gb-sxm-vidur", "elementwise", _BORROWED, "vidur"),),
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
        sources={"vllm": f"{_AICONFIGURATOR}h200_sxm, vLLM 0.24, NCCL 2.29", "vidur": _SMALL_KERNELS},
        loans=(Loan("a100-80gb-sxm-vidur", "elementwise", (*_BORROWED, ("kv_store", "rotary")), "vidur"),),
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
}  # fmt: skip
"""By name of the calibration."""


def plan_of(name: str) -> Plan:
    """The plan of that name; raises SpecError with the names there are."""
    if name not in PLANS:
        known = ", ".join(PLANS)
        message = f"expected a calibration that tables can make ({known}), found {name}{nearest(name, PLANS)}"
        raise SpecError(Fault("", None, None, "name", message))
    return PLANS[name]
