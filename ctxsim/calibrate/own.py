"""Rows of ``ctxsim measure`` as the frames that fits read, and the plan that follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ctxsim.calibrate import collective, copy, decode, elementwise, gemm, host, packed, prefill, serial
from ctxsim.calibrate.form import Form
from ctxsim.calibrate.frames import framed, joined
from ctxsim.calibrate.plans import Part, Plan
from ctxsim.calibrate.splits import by_columns
from ctxsim.cost.curves import Device
from ctxsim.cost.curves.elementwise import small_variant
from ctxsim.cost.host_link import BESIDE
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.calibration import ON_CPU
from ctxsim.spec.hardware import load_hardware

ROWS_PER_COEFFICIENT = 2
"""A variant with fewer rows has no fit: left-out shapes would be predicted from next to nothing."""

GEMM = replace(gemm.FORM, splits=by_columns("n", "k"), left_out="products (all rows of one n and k)", smoothness=0.3)
"""Own files have single products, not whole grids of them."""

LOOP = "engine"
"""The variant of the torch engine's loop."""


@dataclass(frozen=True)
class OwnFile:
    """A file of measurements: what it is called in sources, its rows and what it says of itself."""

    name: str
    rows: pd.DataFrame
    meta: Mapping[str, Any]

    @property
    def source(self) -> str:
        """What to cite."""
        meta = self.meta
        what = f"{meta['device']}, {meta['threads']} threads, torch {meta['torch']}"
        return f"{self.name}: own measurements of {what}, made by: {meta['command']}"


def own_plan(hardware: str, files: Sequence[OwnFile]) -> tuple[Plan, list[str]]:
    """The plan of a device's calibration from its files, and in words what they have too few rows of for a fit.

    Raises SpecError for an unknown profile, and where nothing can be fitted.
    """
    profile = load_hardware(hardware)
    kind = str(files[0].meta["kind"])
    parts, too_few = [], []
    for (family, variant), rows in joined([_frame(file) for file in files]).groupby(["family", "variant"]):
        form, found = _form(str(family), str(variant), profile.host_link_bytes_per_s, kind), framed(rows)
        why_not = _too_few(form, Device.of(profile), found)
        if why_not:
            too_few.append(f"{family} {variant}: no fit, {why_not}")
        else:
            parts.append(Part(form, partial(_given, found), "own"))
    if not parts:
        message = f"expected enough rows for a fit, found {'; '.join(too_few) or 'none'}; measure for longer"
        raise SpecError(Fault(files[0].name, None, None, "", message))
    about = f"{files[0].meta['device']}, kernels, copies and engine loop of the torch engine, measured one by one."
    sources = {"own": "; ".join(file.source for file in files)}
    return Plan(hardware, "", about, tuple(parts), sources), too_few


def _given(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A reader of rows that are there already."""
    return rows


def _too_few(form: Form, device: Device, rows: pd.DataFrame) -> str:
    """Why these rows make no fit that can be judged, or nothing."""
    followed = form.judged(device, rows)
    least = ROWS_PER_COEFFICIENT * len(form.starts)
    if len(followed) < least:
        return f"expected {least} rows or more, found {len(followed)}"
    rest = min(len(form.judged(device, rows[~mask])) for _, mask in form.splits(rows))
    if rest < len(form.starts):
        return f"expected shapes that differ, found {len(followed)} rows of which {len(followed) - rest} are alike"
    return ""


def _form(family: str, variant: str, link_bytes_per_s: float, kind: str) -> Form:
    forms = {
        "gemm": GEMM if variant in ("bf16", "fp32") else gemm.QUANTIZED, "packed_gemm": packed.FORM,
        "decode_attention": decode.FORM, "prefill_attention": prefill.FORM, "serial_decode": serial.DECODE,
        "masked_prefill": serial.PREFILL, "all_reduce": collective.NCCL,
        "elementwise": elementwise.ON_CPU if kind == "cpu" else elementwise.FORM,
        "copy": copy.form_of(link_bytes_per_s), "host": host.FORM,
    }  # fmt: skip
    return forms[family]


def _frame(file: OwnFile) -> pd.DataFrame:
    """The rows that have fits, with family and variant as prices ask for them."""
    rows = file.rows
    parts = [
        _of(rows, "gemm", rows["dtype"], ON_CPU["gemm"] if file.meta["kind"] == "cpu" else None),
        *_attention(rows, file.meta["kind"]),
        _of(rows, "elementwise", [small_variant(*pair) for pair in zip(rows["variant"], rows["dtype"], strict=True)]),
        _of(rows, "all_reduce", "nccl"),
        *_copies(rows, file.meta["kind"]),
        _of(rows.assign(sequences=rows["batch"]), "host", LOOP),
    ]
    return joined([part for part in parts if len(part)])


def _of(rows: pd.DataFrame, family: str, variant: Any, called: str | None = None) -> pd.DataFrame:
    """The rows of a family with their variants, under the name that the family has in calibrations."""
    found = rows.assign(variant=variant)
    return found[found["family"] == family].assign(family=called or family)


def _attention(rows: pd.DataFrame, kind: str) -> list[pd.DataFrame]:
    """Variants as of tables: format of KV and head size. On a CPU, which computed sequences one by one, the format."""
    variant = rows["kv_dtype"] + ("" if kind == "cpu" else "-" + rows["head_dim"].astype(str))
    families = ("decode_attention", "prefill_attention")
    return [_of(rows, family, variant, ON_CPU[family] if kind == "cpu" else None) for family in families]


def _copies(rows: pd.DataFrame, kind: str) -> list[pd.DataFrame]:
    """Variants: the direction, and how the copy was made where that is not page-locked and alone.

    A CPU has its KV and the sessions that were swapped out in one memory: its copies are those both ways.
    """
    if kind == "cpu":
        return [
            _of(rows, "copy", [way + _beside(beside) for beside in rows["beside"]]) for way in ("to_host", "to_device")
        ]
    unpinned = (~rows["pinned"] & (rows["direction"] != "device")).map({True: "-pageable", False: ""})
    return [_of(rows, "copy", rows["direction"] + unpinned + rows["beside"].map(_beside))]


def _beside(beside: str) -> str:
    return BESIDE if beside == "gemm" else ""
