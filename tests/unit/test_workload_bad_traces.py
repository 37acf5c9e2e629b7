"""Files that are no trace of the format, or damaged, or whose contents cannot be: each is refused by its text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_refusal import GOOD, HEADER, refusal, refused

from ctxsim.workload import read_trace

SAMPLES = Path(__file__).parent / "traces"


@pytest.mark.parametrize(
    ("trace_format", "content", "message"),
    [
        ("mooncake", "", "expected a trace with at least one request, found an empty file"),
        ("mooncake", "\n \n", "expected a trace with at least one request, found an empty file"),
        ("azure", f"{HEADER}\n", "expected a trace with at least one request, found only a header"),
        (
            "vllm-bench",
            '{"input_lens": [], "output_lens": [], "start_times": []}',
            "expected a trace with at least one request, found empty lists",
        ),
    ],
)
def test_trace_without_requests(tmp_path: Path, trace_format: str, content: str, message: str) -> None:
    assert refused(tmp_path, content, trace_format) == [message]


def test_no_file_and_folder(tmp_path: Path) -> None:
    for trace_format in ("mooncake", "azure", "agentic", "vllm-bench"):
        assert refusal(tmp_path / "gone", trace_format) == [
            "expected a trace file, found nothing at this path; correct workload.trace"
        ]
        assert refusal(tmp_path, trace_format) == ["expected a trace file, found a folder; name the file in it"]


def test_binary_files(tmp_path: Path) -> None:
    assert refused(tmp_path, b"\x89PNG\r\n\x1a\n\x00\x00", "mooncake") == [
        "expected UTF-8 text, found binary data at byte 0; name the trace itself"
    ]
    assert refused(tmp_path, b'{"a": 1}\n\x00\x01', "mooncake") == [
        "expected UTF-8 text, found binary data at byte 9; name the trace itself"
    ]
    assert refused(tmp_path, b"PAR1\x15\x04", "azure") == [
        'expected a text file, found Parquet data; did you mean format "agentic"?'
    ]


def test_gzip_cut_off_or_corrupt_or_none(tmp_path: Path) -> None:
    packed = gzip.compress((SAMPLES / "mooncake.jsonl").read_bytes())
    assert refused(tmp_path, packed[:200], "mooncake", "t.jsonl.gz") == [
        "expected a whole gzip file, found one cut off after 200 bytes; fetch it again"
    ]
    flipped = packed[:-8] + bytes(8)
    (message,) = refused(tmp_path, flipped, "mooncake", "t.jsonl.gz")
    assert message.startswith("expected a gzip file, found data that does not unpack (CRC check failed")
    (message,) = refused(tmp_path, GOOD, "mooncake", "t.jsonl.gz")
    assert message.startswith("expected a gzip file, found data that does not unpack (Not a gzipped file")


BAILIAN = {
    "chat_id": 1,
    "parent_chat_id": -1,
    "timestamp": 61.1,
    "input_length": 22,
    "output_length": 9,
    "type": "text",
    "turn": 1,
    "hash_ids": [1, 2],
}


@pytest.mark.parametrize(
    ("trace_format", "content", "message"),
    [
        (
            "mooncake",
            f"{HEADER}\n2023-11-16 18:17:03.0,5,5\n",
            "expected the mooncake format (timestamp, input_length, output_length, hash_ids), "
            'found TIMESTAMP, ContextTokens, GeneratedTokens; did you mean format "azure"?',
        ),
        (
            "azure",
            GOOD,
            "expected the azure format (TIMESTAMP, ContextTokens, GeneratedTokens), "
            'found timestamp, input_length, output_length, hash_ids; did you mean format "mooncake"?',
        ),
        (
            "mooncake",
            '{\n "input_lens": [1],\n "output_lens": [1],\n "start_times": [0.5]}',
            "expected the mooncake format (timestamp, input_length, output_length, hash_ids), "
            'found input_lens, output_lens, start_times; did you mean format "vllm-bench"?',
        ),
        (
            "vllm-bench",
            f"{GOOD}\n{GOOD}",
            "expected the vllm-bench format (input_lens, output_lens, start_times, num_prompts, completed, ...), "
            'found timestamp, input_length, output_length, hash_ids; did you mean format "mooncake"?',
        ),
        (
            "agentic",
            GOOD,
            "expected the agentic format (trace, agent, t_s, input_tokens, output_tokens), "
            'found timestamp, input_length, output_length, hash_ids; did you mean format "mooncake"?',
        ),
        (
            "agentic",
            "trace,agent,t_s,input_tokens,output_tokens\nt1,main,0,5,5\n",
            "expected a Parquet file, found text; write the table with DataFrame.to_parquet",
        ),
        (
            "mooncake",
            json.dumps(BAILIAN),
            "expected the mooncake format (timestamp, input_length, output_length, hash_ids), "
            "found chat_id, parent_chat_id, timestamp, input_length, output_length, ...; "
            "this looks like the Bailian format, which is not read: convert it first",
        ),
        (
            "azure",
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n",
            "expected the azure format (TIMESTAMP, ContextTokens, GeneratedTokens), "
            "found Timestamp, Session ID, Elapsed time, Model, Request tokens, ...; "
            "this looks like the BurstGPT format, which is not read: convert it first",
        ),
        (
            "azure",
            "name,age\nx,3\n",
            "expected the azure format (TIMESTAMP, ContextTokens, GeneratedTokens), "
            "found name, age; formats that are read: mooncake, azure, agentic, vllm-bench",
        ),
        (
            "azure",
            "TIMESTAMP,GeneratedTokens\n2023-11-16 18:17:03.0,5\n",
            "expected the columns TIMESTAMP, ContextTokens, GeneratedTokens, "
            "found TIMESTAMP, GeneratedTokens; add ContextTokens",
        ),
    ],
)
def test_wrong_format_for_the_content(tmp_path: Path, trace_format: str, content: str, message: str) -> None:
    assert refused(tmp_path, content, trace_format) == [message]


def test_unknown_format(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t", "moonkake") == [
        'expected a trace format (mooncake, azure, agentic, vllm-bench), found "moonkake"; did you mean "mooncake"?'
    ]


def bench(**changes: Any) -> str:
    return json.dumps({"input_lens": [5, 6], "output_lens": [1, 2], "start_times": [0.5, 1.5]} | changes)


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (
            '{"num_prompts": 3, "completed": 3, "request_throughput": 1.0}',
            [
                "expected the keys input_lens, output_lens, start_times, found no input_lens, output_lens, "
                "start_times; write the result with --save-result --save-detailed"
            ],
        ),
        (bench(input_lens=3), ["expected a list in input_lens, found 3; write the result with --save-detailed"]),
        (
            bench(output_lens=[1]),
            ["expected lists of one length, found input_lens 2, output_lens 1, start_times 2; write the result again"],
        ),
        (
            bench() + "\n" + bench(),
            [
                "expected one JSON object, found Extra data at line 2 column 1; "
                "keep one result a file (no --append-result)"
            ],
        ),
        (
            bench(input_lens=[0, "6"], start_times=[0.5, float("nan")]),
            [
                "input_lens[0]: expected a prompt of at least 1 token, found 0; remove the request",
                'input_lens[1]: expected a whole number of tokens, found "6"; write it as a plain number like 512',
                "start_times[1]: expected a finite number of seconds, found NaN; remove or correct the request",
            ],
        ),
        (
            bench(errors=["no", "no"]),
            ["expected at least one answered request, found 2 failed ones; see the list errors"],
        ),
    ],
)
def test_bad_vllm_bench_results(tmp_path: Path, content: str, messages: list[str]) -> None:
    assert refused(tmp_path, content, "vllm-bench") == messages


def test_failed_vllm_bench_requests_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(bench(input_lens=[5, 0], errors=["", "refused"]))
    assert read_trace(path, "vllm-bench").prompt_tokens.tolist() == [5]


def agentic(tmp_path: Path, **changes: Any) -> Path:
    columns = {
        "trace": ["t1", "t1"],
        "agent": ["main", "main"],
        "t_s": [0.0, 9.0],
        "input_tokens": [100, 200],
        "output_tokens": [5, 6],
        "think_time_s": [0.0, None],
    }
    path = tmp_path / "agentic.parquet"
    pq.write_table(pa.table({name: values for name, values in (columns | changes).items() if values is not None}), path)
    return path


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"t_s": [0.0, float("nan")]},
            ["row 1: t_s: expected a finite number of seconds, found NaN; remove or correct the request"],
        ),
        ({"t_s": [0.0, None]}, ["row 1: t_s: expected a number of seconds, found null; write it as a plain number"]),
        (
            {"input_tokens": [0, -4]},
            [
                "row 0: input_tokens: expected a prompt of at least 1 token, found 0; remove the request",
                "row 1: input_tokens: expected a number of tokens of at least 1, found -4; "
                "remove or correct the request",
            ],
        ),
        (
            {"output_tokens": ["5", "6"]},
            [
                f'row {row}: output_tokens: expected a whole number of tokens, found "{tokens}"; '
                "write it as a plain number like 512"
                for row, tokens in ((0, 5), (1, 6))
            ],
        ),
        (
            {"think_time_s": [0.0, -1.0]},
            [
                "row 1: think_time_s: expected a number of seconds of at least 0, found -1.0; "
                "count from the trace's start"
            ],
        ),
        ({"agent": ["main", None]}, ["row 1: agent: expected a name, found null; remove the row"]),
        (
            {"output_tokens": None},
            [
                "expected the columns trace, agent, t_s, input_tokens, output_tokens, "
                "found trace, agent, t_s, input_tokens, think_time_s; add output_tokens"
            ],
        ),
    ],
)
def test_bad_agentic_table(tmp_path: Path, changes: dict[str, Any], messages: list[str]) -> None:
    assert refusal(agentic(tmp_path, **changes), "agentic") == messages


def test_agentic_table_without_rows_or_cut_off(tmp_path: Path) -> None:
    empty = {name: pa.array([], pa.int64()) for name in ("trace", "agent", "t_s", "input_tokens", "output_tokens")}
    assert refusal(agentic(tmp_path, think_time_s=None, **empty), "agentic") == [
        "expected a trace with at least one request, found a table without rows"
    ]
    whole = agentic(tmp_path).read_bytes()
    (message,) = refused(tmp_path, whole[: len(whole) // 2], "agentic", "cut.parquet")
    assert message.startswith("expected a whole Parquet file, found one that cannot be read (")
