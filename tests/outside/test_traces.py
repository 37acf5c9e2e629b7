"""The readers on the real traces: counts, means and extents as published with the data, exact times."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ctxsim.workload import TraceTable, read_trace

DATA = Path(os.environ.get("CTXSIM_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def outside(name: str, trace_format: str, **changes: float) -> TraceTable:
    path = DATA / "workloads" / name
    if not path.is_file():
        pytest.skip(f"needs the measured data: no {name} in the folder workloads of $CTXSIM_DATA or ../shared/data")
    return read_trace(path, trace_format, **changes)  # type: ignore[arg-type]


def test_mooncake_conversation() -> None:
    """Published with the data: 12,031 requests in an hour, mean 12,035 in and 343 out, at most 126K in."""
    table = outside("mooncake_conversation.jsonl.gz", "mooncake")
    assert len(table) == 12_031
    assert table.warnings == ()
    assert table.arrival_s[-1] == pytest.approx(3600, rel=0.02)
    assert round(table.prompt_tokens.mean()) == 12_035
    assert round(table.output_tokens.mean()) == 343
    assert round(table.prompt_tokens.max(), -3) == 126_000


def test_mooncake_hashes_cover_every_prompt() -> None:
    table = outside("mooncake_conversation.jsonl.gz", "mooncake")
    assert np.array_equal(np.diff(table.block_offsets), -(-table.prompt_tokens // 512))
    assert (table.block_hashes[table.block_offsets[:-1]] == 0).all(), "all requests share their first block"


@pytest.mark.parametrize(("name", "requests"), [("code", 8_819), ("conv", 19_366)])
def test_azure(name: str, requests: int) -> None:
    table = outside(f"AzureLLMInferenceTrace_{name}.csv.gz", "azure")
    assert len(table) == requests
    assert table.warnings == ()
    # One hour of traffic, stamped in ticks of 100 ns.
    assert 3400 < table.arrival_s[-1] < 3600
    ticks = table.arrival_s / 1e-7
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-4


def test_agentic_coding() -> None:
    """Published with the data: 348 sessions, 21,798 requests, median 100K tokens in, at most 894K."""
    table = outside("agentic_coding.parquet", "agentic")
    assert len(table) == 21_798
    assert round(float(np.median(table.prompt_tokens)), -4) == 100_000
    assert round(table.prompt_tokens.max(), -3) == 894_000
    # 348 conversations, some with sub-agents: each is a session that begins at 0.
    begins = table.turn == 0
    assert begins.sum() == 386
    assert (table.arrival_s[begins] == 0).all()


def test_agentic_prefixes_fit_the_turn_before() -> None:
    """No prompt shares more with the turn before than that turn's prompt is long."""
    table = outside("agentic_coding.parquet", "agentic")
    later = np.flatnonzero(table.turn > 0)
    assert (table.shared_prefix_tokens[later] <= table.prompt_tokens[table.parent_id[later]]).all()
    assert (table.shared_prefix_tokens[table.turn == 0] == 0).all()


def test_first_requests_of_a_long_trace() -> None:
    table = outside("mooncake_conversation.jsonl.gz", "mooncake", num_requests=100, time_scale=0.5)
    whole = outside("mooncake_conversation.jsonl.gz", "mooncake")
    assert table.arrival_s.tolist() == (whole.arrival_s[:100] / 2).tolist()
    assert table.block_hashes.tolist() == whole.block_hashes[: whole.block_offsets[100]].tolist()
