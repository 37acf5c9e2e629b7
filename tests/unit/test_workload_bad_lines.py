"""Every kind of bad line is refused by its text: where, what was expected, what was found, what would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from trace_refusal import GOOD, HEADER, refused


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"timestamp": 3, oops',
            ':2:18: expected a JSON object, found "{\\"timestamp\\": 3, oops" '
            "(Expecting property name enclosed in double quotes); correct or remove the line",
        ),
        (
            "[1, 2, 3]",
            ":2: expected a JSON object, found [1, 2, 3]; "
            "write {...} with timestamp, input_length, output_length, hash_ids",
        ),
        (
            '{"timestamp": 1, "input_length": 5}',
            ':2: output_length: expected this key, found only "timestamp, input_length"; correct or remove the line',
        ),
        (
            '{"timestamp": -1, "input_length": 5, "output_length": 1}',
            ":2: timestamp: expected a number of milliseconds of at least 0, found -1; count from the trace's start",
        ),
        (
            '{"timestamp": NaN, "input_length": 5, "output_length": 1}',
            ":2: timestamp: expected a finite number of milliseconds, found NaN; remove or correct the request",
        ),
        (
            '{"timestamp": 1e999, "input_length": 5, "output_length": 1}',
            ":2: timestamp: expected a finite number of milliseconds, found Infinity; remove or correct the request",
        ),
        (
            '{"timestamp": 1e300, "input_length": 5, "output_length": 1}',
            ":2: timestamp: expected at most 9,007,199,254,740,992 milliseconds, found 1e+300; "
            "count from the trace's start",
        ),
        (
            '{"timestamp": "1", "input_length": 5, "output_length": 1}',
            ':2: timestamp: expected a number of milliseconds, found "1"; write it as a plain number',
        ),
        (
            '{"timestamp": true, "input_length": 5, "output_length": 1}',
            ":2: timestamp: expected a number of milliseconds, found true; write it as a plain number",
        ),
        (
            '{"timestamp": 1, "input_length": 0, "output_length": 1}',
            ":2: input_length: expected a prompt of at least 1 token, found 0; remove the request",
        ),
        (
            '{"timestamp": 1, "input_length": -7, "output_length": 1}',
            ":2: input_length: expected a number of tokens of at least 1, found -7; remove or correct the request",
        ),
        (
            '{"timestamp": 1, "input_length": 5.5, "output_length": 1}',
            ":2: input_length: expected a whole number of tokens, found 5.5; write it as a plain number like 512",
        ),
        (
            '{"timestamp": 1, "input_length": null, "output_length": 1}',
            ":2: input_length: expected a whole number of tokens, found null; write it as a plain number like 512",
        ),
        (
            '{"timestamp": 1, "input_length": 123456789012345678901234, "output_length": 1}',
            ":2: input_length: expected at most 1,000,000,000 tokens, found 123456789012345678901234; "
            "remove or correct the request",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": -1}',
            ":2: output_length: expected a number of tokens of at least 0, found -1; remove or correct the request",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": [1, 2]}',
            ":2: hash_ids: expected at most 1 ids (5 prompt tokens in blocks of 512), found 2; "
            "is the trace's block shorter?",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": ["a"]}',
            ':2: hash_ids: expected whole numbers of 64 bits, found ["a"]; number the blocks',
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": [18446744073709551615]}',
            ":2: hash_ids: expected whole numbers of 64 bits, found [18446744073709551615]; number the blocks",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": 7}',
            ":2: hash_ids: expected a list of whole numbers, found 7; leave the key out where there are none",
        ),
    ],
)
def test_bad_mooncake_line(tmp_path: Path, line: str, message: str) -> None:
    assert refused(tmp_path, f"{GOOD}\n{line}\n{GOOD}\n", "mooncake") == [message]


@pytest.mark.parametrize("line", ["[" * 100_000, "9" * 5000])
def test_hostile_json_is_refused_like_any_other(tmp_path: Path, line: str) -> None:
    (message,) = refused(tmp_path, f"{GOOD}\n{line}\n", "mooncake")
    assert message.startswith(":2: expected a JSON object, found ")
    assert len(message) < 200


def test_all_faults_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    lines = [GOOD, '{"timestamp": -1, "input_length": 0, "output_length": 1}', GOOD, "oops"]
    assert [message.split(": ")[:2] for message in refused(tmp_path, "\n".join(lines), "mooncake")] == [
        [":2", "timestamp"],
        [":2", "input_length"],
        [":4:1", 'expected a JSON object, found "oops" (Expecting value); correct or remove the line'],
    ]


def test_twenty_faults_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    messages = refused(tmp_path, "\n".join([GOOD] + ["oops"] * 1523), "mooncake")
    assert len(messages) == 21
    assert messages[-1] == "... and 1,503 more"


def test_exactly_twenty_faults_are_all_listed(tmp_path: Path) -> None:
    assert len(refused(tmp_path, "\n".join([GOOD] + ["oops"] * 20), "mooncake")) == 20


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "2023-11-16 18:17:03.9799600,4808",
            ":3: expected 3 cells (TIMESTAMP, ContextTokens, GeneratedTokens), found 2; correct or remove the line",
        ),
        (
            "yesterday,4808,10",
            ':3: TIMESTAMP: expected a time like 2023-11-16 18:17:03.9799600, found "yesterday"; '
            "correct or remove the line",
        ),
        (
            "2023-13-16 18:17:03.9799600,4808,10",
            ":3: TIMESTAMP: expected a time like 2023-11-16 18:17:03.9799600, "
            'found "2023-13-16 18:17:03.9799600"; correct or remove the line',
        ),
        (
            "2023-11-16 18:17:03+02:00,4808,10",
            ":3: TIMESTAMP: expected a time like 2023-11-16 18:17:03.9799600, "
            'found "2023-11-16 18:17:03+02:00"; correct or remove the line',
        ),
        (
            "2023-11-16 18:17:03.9799600,NaN,10",
            ':3: ContextTokens: expected a whole number of tokens, found "NaN"; write it as a plain number like 512',
        ),
        (
            "2023-11-16 18:17:03.9799600,0,10",
            ":3: ContextTokens: expected a prompt of at least 1 token, found 0; remove the request",
        ),
        (
            "2023-11-16 18:17:03.9799600,4808,-10",
            ":3: GeneratedTokens: expected a number of tokens of at least 0, found -10; remove or correct the request",
        ),
    ],
)
def test_bad_azure_line(tmp_path: Path, line: str, message: str) -> None:
    content = f"{HEADER}\n2023-11-16 18:17:03.0,5,5\n{line}\n"
    assert refused(tmp_path, content, "azure") == [message]
