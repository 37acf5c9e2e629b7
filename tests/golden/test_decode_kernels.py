"""Occupancy of decode attention kernels, and what it does to time, against LeanAttention (arXiv 2405.10480)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import pytest

from ctxsim.cost.decode_kernels import KernelReader, occupancy, work_items
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.serving import DecodeAttention

ROWS = list(csv.DictReader(Path(__file__).with_name("decode_kernels.csv").read_text().splitlines()))

PUBLISHED = 8.33
"""LeanAttention over FlashAttention-2 at 512K tokens, at most (abstract of arXiv 2405.10480v1)."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kernel']}-{row['context_tokens']}-{row['head_dim']}")
def test_occupancy(row: dict[str, str]) -> None:
    workers = int(row["workers"])
    shape = [int(row[name]) for name in ("sequences", "kv_heads", "context_tokens", "head_dim")]
    items = work_items(cast(DecodeAttention, row["kernel"]), *shape, workers)
    assert items == int(row["items"])
    assert occupancy(items, workers) == pytest.approx(float(row["occupancy"]), abs=float(row["tolerance"]))


def test_lean_attention_over_flash_attention_2() -> None:
    """Nothing is fitted to the paper: the rates are those of vLLM's kernels in another's tables."""
    a100 = load_hardware("a100-80gb-sxm")
    assert a100.decode_hbm_ratio is not None
    assert a100.decode_worker_bytes_per_s is not None
    rates = [
        KernelReader.of(kernel, 8, a100.compute_units, a100.decode_hbm_ratio, a100.decode_worker_bytes_per_s)
        for kernel in ("lean_attention", "flash_attention_2")
    ]
    lean, flash = (rate.bytes_per_s(1, a100.hbm_bytes_per_s) for rate in rates)
    assert lean / flash == pytest.approx(8.80, abs=0.01)
    assert PUBLISHED / 1.5 < lean / flash < PUBLISHED * 1.5
