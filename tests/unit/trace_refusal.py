"""How a bad trace is refused, for the tests of the readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctxsim.errors import SpecError
from ctxsim.workload import read_trace

GOOD = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}'
"""A sound line of a Mooncake trace."""

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
"""The first line of an Azure trace."""


def refusal(path: Path, trace_format: str) -> list[str]:
    """The lines of the error, with the path cut off."""
    with pytest.raises(SpecError) as caught:
        read_trace(path, trace_format)
    assert caught.value.exit_code == 2
    return [line.removeprefix(str(path)).removeprefix(": ") for line in str(caught.value).split("\n")]


def refused(tmp_path: Path, content: str | bytes, trace_format: str, name: str = "trace") -> list[str]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return refusal(path, trace_format)
