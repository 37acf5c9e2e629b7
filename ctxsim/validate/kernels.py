"""Kernels, links and hosts: what a calibration's fits say of whole shapes, and of the longest decade, left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ctxsim.calibrate import evaluate, variants_of
from ctxsim.validate.errors import decade, error_row, error_table, relative_errors
from ctxsim.validate.page import Section
from ctxsim.validate.targets import Target, at_least, at_most, times_at_most
from ctxsim.validate.workers import Spread

LONGEST = "longest"
"""What splits are called that leave out the longest decade."""

SHAPES = (
    "Every prediction is of a whole shape that the fit did not see: a hidden size (all products with it on either "
    "side), a head geometry, a number of accelerators. The band is what the fit states for shapes it has not seen."
)
DECADES = (
    "Fits that have seen only the shorter rows, asked for the longest decade of each family; the band is the one that "
    "they state there, its growth judged on the longest doubling of what they had seen."
)
ATTENTION = ("bf16-64", "bf16-128", "bf16-192", "bf16-256")


@dataclass(frozen=True, slots=True)
class Aim:
    """A MAPE that variants of a family should have at most, where splits whose names begin so were left out."""

    words: str
    family: str
    variants: tuple[str, ...]
    most_ratio: float
    split: str = ""


_MACHINES, _SIZES = "accelerators", "moved_bytes"
_COMMON = (
    Aim("matrix products in bf16, N and K of 512 and more", "gemm", ("bf16",), 0.06),
    Aim(
        "prefill attention in bf16, heads of 64 and 128, 512 tokens and more", "prefill_attention", ATTENTION[:2], 0.06
    ),
    Aim("all-reduce of NCCL", "all_reduce", ("nccl",), 0.08),
    Aim("all-reduce of vLLM, numbers of accelerators left out", "all_reduce", ("custom",), 0.08, _MACHINES),
    Aim("all-reduce of vLLM, decades of size left out", "all_reduce", ("custom",), 0.08, _SIZES),
)
_DECODE = "decode attention in bf16, heads of 64 to 256"
AIMS: dict[str, tuple[Aim, ...]] = {
    "a100-80gb-sxm-vllm": (Aim(_DECODE, "decode_attention", ATTENTION, 0.06), *_COMMON),
    "h200-sxm-vllm": (Aim(_DECODE, "decode_attention", ATTENTION, 0.04), *_COMMON),
}
"""By calibration: what was asked of whole shapes that were left out."""

MOST_LONGEST_RATIO = 0.06
LEAST_COVERED_RATIO = 0.9
MOST_WIDTHS = 2.5
"""Of the longest decade of decode attention: MAPE, share inside the band, and its mean half-width over the MAPE."""


def kernel_checks(name: str, folder: Path, spread: Spread) -> list[Section]:
    """The sections of one calibration from the kernel tables below a folder."""
    jobs = [(folder, name, family, variant) for family, variant in variants_of(folder, name)]
    return list(kernel_sections(name, pd.concat(spread(_evaluated, jobs), ignore_index=True)))


def kernel_sections(name: str, frame: pd.DataFrame) -> Iterator[Section]:
    """What the predictions of a calibration's left-out shapes say."""
    shapes, longest = kernel_tables(frame)
    yield Section(f"{name}: shapes left out", SHAPES, shapes, tuple(_shape_targets(name, frame)))
    attention = context_table(frame)
    if len(attention):
        yield Section(f"{name}: attention by decade of context", SHAPES, attention)
    yield Section(f"{name}: the longest decade left out", DECADES, longest, tuple(_longest_targets(name, frame)))


def kernel_tables(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors of left-out shapes by family, variant and range; those of the longest decade by family and variant."""
    longest = _is_longest(frame)
    shapes = error_table(frame[~longest], ["family", "variant", "in_range"])
    return shapes, error_table(frame[longest], ["family", "variant"])


def context_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Errors of attention on left-out shapes by decade of context."""
    attention = frame[frame["family"].str.endswith("_attention") & (frame["context_tokens"] > 0) & ~_is_longest(frame)]
    return error_table(attention.assign(context=decade(attention["context_tokens"])), ["family", "variant", "context"])


def _shape_targets(name: str, frame: pd.DataFrame) -> Iterator[Target]:
    shapes = frame[~_is_longest(frame) & (frame["window_tokens"] == 0)]
    for aim in AIMS.get(name, ()):
        asked = shapes["variant"].isin(aim.variants) & shapes["split"].str.startswith(aim.split)
        rows = shapes[(shapes["family"] == aim.family) & asked]
        if len(rows):
            yield at_most(f"{name}: MAPE of {aim.words}", error_row(rows)["mape_ratio"], aim.most_ratio)


def _longest_targets(name: str, frame: pd.DataFrame) -> Iterator[Target]:
    rows = frame[_is_longest(frame) & (frame["family"] == "decode_attention") & frame["variant"].isin(ATTENTION)]
    if name not in AIMS or not len(rows):
        return
    found, what = error_row(rows), f"{name}: decode attention, longest decade of context left out"
    yield at_most(f"{what}, MAPE", found["mape_ratio"], MOST_LONGEST_RATIO)
    yield at_least(f"{what}, inside the band", found["covered_ratio"], LEAST_COVERED_RATIO)
    widths = found["band_ratio"] / float(relative_errors(rows).abs().mean())
    yield times_at_most(f"{what}, mean half-width of the band over MAPE", widths, MOST_WIDTHS)


def _is_longest(frame: pd.DataFrame) -> pd.Series:
    return frame["split"].str.startswith(LONGEST)


def _evaluated(job: tuple[Path, str, str, str]) -> pd.DataFrame:
    folder, name, family, variant = job
    return evaluate(folder, name, (family,), (variant,))
