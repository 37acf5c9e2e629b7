"""What profiles say of decode kernels (efficiency.decode_attention) in the tables that they cite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctxsim.calibrate import tables
from ctxsim.spec.hardware import load_hardware

LONG_TOKENS = 30_000
"""Longer contexts are looked at: those that launching and joining parts weigh little beside."""

HEAD_BYTES = 2 * 128 * 2
"""Keys and values of a token in a head."""


def test_thread_blocks_that_are_not_split_read_at_one_rate(outside_data: Path) -> None:
    """Multi-head attention, a block for each head of a sequence: up to 32 of them each read 22 GB/s, on an A100.

    More blocks than it has units reach the share that the profile gives, within 5 %.
    """
    a100 = load_hardware("a100-80gb-sxm")
    assert a100.decode_worker_bytes_per_s is not None
    assert a100.decode_hbm_ratio is not None
    rows = tables.read_decode(outside_data / "kernels" / "aiconfigurator/a100_sxm")
    rows = rows[(rows["variant"] == "bf16-128") & (rows["heads"] == rows["kv_heads"])]
    rows = rows[rows["past_tokens"] > LONG_TOKENS]
    blocks = (rows["batch"] * rows["kv_heads"]).to_numpy(float)
    rates = blocks * (rows["past_tokens"] + 1).to_numpy(float) * HEAD_BYTES / rows["seconds"].to_numpy(float)
    few = blocks <= 32
    assert {8, 16, 32} <= set(blocks[few])
    each = rates[few] / blocks[few]
    slowest, median, fastest = np.quantile(each / 1e9, (0, 0.5, 1))
    print(f"a block reads {slowest:.2f} to {fastest:.2f} GB/s, {median:.2f} at the median")
    assert each == pytest.approx(a100.decode_worker_bytes_per_s, rel=0.05)
    assert np.median(each) == pytest.approx(a100.decode_worker_bytes_per_s, rel=0.01)
    reached = rates[blocks > a100.compute_units].max() / a100.hbm_bytes_per_s
    print(f"the most that many blocks reach: {reached:.3f} of the bandwidth")
    assert reached == pytest.approx(a100.decode_hbm_ratio, rel=0.05)
