"""The canonical table, and what each reader makes of a hand-made sample of its format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.spec.workload import Trace
from ctxsim.workload import READERS, ThinkTimeSource, TraceSource, make_source, read_trace
from ctxsim.workload.traces import build_table, turns

SAMPLES = Path(__file__).parent / "traces"


@pytest.fixture
def agentic(tmp_path: Path) -> Path:
    """The agentic sample as the Parquet file the format is."""
    path = tmp_path / "agentic.parquet"
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(SAMPLES / "agentic.csv"), path)
    return path


def sample(name: str, agentic: Path) -> Path:
    files = {"mooncake": "mooncake.jsonl", "azure": "azure.csv", "vllm-bench": "vllm_bench.json"}
    return agentic if name == "agentic" else SAMPLES / files[name]


@pytest.mark.parametrize("name", list(READERS))
def test_every_format_gives_a_sound_table(name: str, agentic: Path) -> None:
    table = read_trace(sample(name, agentic), name)
    assert len(table) == (19 if name == "vllm-bench" else 20)
    assert (np.diff(table.arrival_s) >= 0).all()
    assert table.arrival_s[0] == 0.0
    assert (table.prompt_tokens >= 1).all()
    assert (table.output_tokens >= 0).all()
    assert (table.parent_id < np.arange(len(table))).all()
    assert ((table.parent_id == -1) == (table.turn == 0)).all()
    children = np.flatnonzero(table.turn > 0)
    parents = table.parent_id[children]
    assert (table.session_id[parents] == table.session_id[children]).all()
    assert (table.turn[parents] + 1 == table.turn[children]).all()
    assert table.block_offsets[-1] == len(table.block_hashes)
    assert table.source == f"{name}:{sample(name, agentic).name}"


@pytest.mark.parametrize("name", list(READERS))
def test_first_requests_and_time_scale(name: str, agentic: Path) -> None:
    whole = read_trace(sample(name, agentic), name)
    part = read_trace(sample(name, agentic), name, num_requests=7, time_scale=2.5)
    assert part.arrival_s.tolist() == (whole.arrival_s[:7] * 2.5).tolist()
    assert part.prompt_tokens.tolist() == whole.prompt_tokens[:7].tolist()
    assert [part.blocks.of(row).tolist() for row in range(7)] == [whole.blocks.of(row).tolist() for row in range(7)]


def test_more_requests_than_rows_is_said() -> None:
    table = read_trace(SAMPLES / "mooncake.jsonl", "mooncake", num_requests=30)
    assert len(table) == 20
    assert table.warnings == ("num_requests is 30, the trace holds 20: all of them are used",)


def test_mooncake_milliseconds_and_blocks() -> None:
    table = read_trace(SAMPLES / "mooncake.jsonl", "mooncake")
    assert table.arrival_s[[3, 5, 8, 19]].tolist() == [1.0, 2.5, 5.25, 30.0]
    assert (table.prompt_tokens[1], table.output_tokens[1]) == (1300, 3)
    assert table.blocks.of(1).tolist() == [0, 2, 3]
    assert table.block_tokens == 512
    assert table.output_tokens[2] == 0
    assert table.session_id.tolist() == list(range(20))
    assert table.warnings == ()


def test_mooncake_reads_gzip_under_any_name(tmp_path: Path) -> None:
    packed = tmp_path / "trace.jsonl"
    packed.write_bytes(gzip.compress((SAMPLES / "mooncake.jsonl").read_bytes()))
    assert len(read_trace(packed, "mooncake")) == 20


def test_mooncake_sorts_backward_timestamps_stably(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    rows = [(3000, 600, [0, 1]), (1000, 200, [2]), (3000, 300, [3]), (1000, 400, [])]
    path.write_text(
        "\n".join(
            f'{{"timestamp": {t}, "input_length": {n}, "output_length": 1, "hash_ids": {ids}}}' for t, n, ids in rows
        )
    )
    table = read_trace(path, "mooncake")
    assert table.prompt_tokens.tolist() == [200, 400, 600, 300]
    assert [table.blocks.of(row).tolist() for row in range(4)] == [[2], [], [0, 1], [3]]
    assert table.warnings == (
        "2 timestamps go backwards: the requests were sorted by arrival, equal ones in file order",
    )


def test_mooncake_says_what_it_left_unread(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"timestamp": 0, "input_length": 5, "output_length": 1, "model": "m"}\n\n'
        '{"timestamp": 1.5, "input_length": 5, "output_length": 1, "hash_ids": [1]}\n'
    )
    table = read_trace(path, "mooncake")
    assert table.arrival_s.tolist() == [0.0, 0.0015]
    assert table.warnings == (
        "keys left unread: model",
        "1 of 2 requests have no hash_ids: they share no prefix with any other",
    )


def test_azure_times_are_exact_and_relative_to_the_first() -> None:
    table = read_trace(SAMPLES / "azure.csv", "azure")
    # 18:16:57.9799600 -> 18:16:58.0319600, 18:16:59.0000001, 18:17:06.4000000
    assert table.arrival_s[[0, 1, 3, 19]].tolist() == [0.0, 0.052, 1.0200401, 8.42004]
    assert (table.prompt_tokens[1], table.output_tokens[1]) == (137, 8)
    assert len(table.block_hashes) == 0
    assert table.block_tokens == 0


def test_azure_reads_the_2024_form_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(
        b"TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\r\n"
        b"2024-05-10 00:00:00.009930+00:00,2162,5,0\r\n2024-05-10 00:00:01.009931+00:00,2399,6,1\r\n"
    )
    table = read_trace(path, "azure")
    assert table.arrival_s.tolist() == [0.0, 1.000001]
    assert table.warnings == ("columns left unread: NumImages",)


def test_agentic_rows_are_by_time_then_file_order(agentic: Path) -> None:
    table = read_trace(agentic, "agentic")
    assert table.arrival_s[:7].tolist() == [0.0, 0.0, 0.0, 5.0, 9.5, 15.0, 16.5]
    assert table.prompt_tokens[:7].tolist() == [1000, 8000, 64, 8200, 1100, 640, 700]
    assert table.session_id[:7].tolist() == [0, 2, 3, 2, 0, 1, 1]
    assert table.turn[:7].tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert table.parent_id[:7].tolist() == [-1, -1, -1, 1, 0, -1, 5]


def test_agentic_sub_agent_begins_with_the_answer_it_stands_behind(agentic: Path) -> None:
    """The request at 20 s thought for 5 s, so the answer before it came at 15 s; the sub-agent counts from there."""
    table = read_trace(agentic, "agentic")
    rows = np.flatnonzero(table.session_id == 1)
    assert table.arrival_s[rows].tolist() == [15.0, 16.5, 18.0]
    assert np.flatnonzero(table.begins_after != -1).tolist() == [rows[0]]
    sent_by = table.begins_after[rows[0]]
    assert (table.arrival_s[sent_by], table.prompt_tokens[sent_by]) == (9.5, 1100)
    assert (table.release_delay_s == 0).all()
    assert table.warnings == ("1 sub-agents count from their own start: each begins with the answer it stands behind",)


def test_agentic_keeps_think_times_and_shared_prefixes(agentic: Path) -> None:
    table = read_trace(agentic, "agentic")
    rows = np.flatnonzero(table.session_id == 0)
    assert table.shared_prefix_tokens[rows].tolist() == [0, 15 * 64, 17 * 64, 3 * 64, 14 * 64, 15 * 64]
    assert table.think_time_s[rows].tolist()[:3] == [0.0, 3.0, 5.0]
    assert np.isnan(table.think_time_s[rows][3]), "null in the file"
    think_time_s = table.think_time_s[table.session_id == 2]
    assert np.isnan(think_time_s).tolist() == [False] * 4 + [True] + [False] * 2, "3 s in a gap of 1 s are no pause"


def test_vllm_bench_leaves_out_failed_requests_and_sorts_by_start() -> None:
    table = read_trace(SAMPLES / "vllm_bench.json", "vllm-bench")
    assert table.arrival_s[[0, 1, 4, 5]].tolist() == [0.0, 0.75, 3.0, 3.75]
    assert table.prompt_tokens[[3, 4, 5, 7]].tolist() == [133, 155, 144, 188]
    assert table.warnings == (
        "1 timestamps go backwards: the requests were sorted by arrival, equal ones in file order",
        "1 of 20 requests failed and were left out",
    )


@pytest.mark.parametrize("name", list(READERS))
def test_every_format_is_replayed_at_its_recorded_times(name: str, agentic: Path) -> None:
    path = sample(name, agentic)
    source = make_source(Trace(kind="trace", trace=str(path), format=name, num_requests=12), seed=0)
    table = read_trace(path, name, num_requests=12)
    assert isinstance(source, TraceSource)
    assert source.warnings == table.warnings
    demands = list(source.initial())
    assert [d.arrival_s for d in demands] == table.arrival_s.tolist()
    assert [(d.session, d.turn) for d in demands] == list(zip(table.session_id, table.turn, strict=True))
    if name in ("azure", "vllm-bench"):
        assert {(d.reusable_tokens, d.last, d.hashes) for d in demands} == {(0, True, None)}


def test_agentic_trace_is_replayed_at_the_pace_of_its_answers(agentic: Path) -> None:
    spec = Trace(kind="trace", trace=str(agentic), format="agentic", pace="think_time", time_scale=2.0)
    source = make_source(spec, seed=0)
    assert isinstance(source, ThinkTimeSource)
    first, _, _ = source.initial()
    (second,) = source.after(first, 100.0)
    assert (second.prompt_tokens, second.arrival_s) == (1100, 103.0)
    assert (second.reusable_tokens, second.last) == (15 * 64, False)
    agent, third = source.after(second, 200.0)
    assert (agent.prompt_tokens, agent.arrival_s, agent.session) == (640, 200.0, 1)
    assert (third.prompt_tokens, third.arrival_s, third.session) == (1300, 205.0, 0)
    (fourth,) = source.after(third, 300.0)
    assert fourth.arrival_s == 340.0, "without a think time twice the recorded gap from 20 to 40 s"


@given(arrivals=st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_table_is_a_stable_sort(arrivals: list[int]) -> None:
    rows = len(arrivals)
    table = build_table("test", np.array(arrivals, float), np.arange(rows), np.zeros(rows, np.int64))
    assert table.prompt_tokens.tolist() == sorted(range(rows), key=lambda row: arrivals[row])


@given(sessions=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_turns_count_the_rows_of_each_session(sessions: list[int]) -> None:
    turn, parent = turns(np.array(sessions))
    last: dict[int, int] = {}
    for row, session in enumerate(sessions):
        assert parent[row] == last.get(session, -1)
        assert turn[row] == sessions[:row].count(session)
        last[session] = row
