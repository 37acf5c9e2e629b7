"""Runs command lines in this process, and in one of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctxsim.cli import main

ROOT = Path(__file__).resolve().parents[2]

REQUESTS = """\
name: test
model: llama-3.1-8b
hardware: a100-80gb-sxm
serving: {max_num_batched_tokens: 2048}
workload:
  kind: requests
  prompt_tokens: 2048
  output_tokens: 256
  arrival: {kind: poisson, rate: 2 /s}
  num_requests: 10
slo: {ttft: 1 s, tpot: 50 ms}
"""
"""A scenario that takes a moment to simulate and meets its SLO."""


@dataclass(frozen=True)
class Outcome:
    """Exit code, and what went to stdout and stderr."""

    code: int
    out: str
    err: str


def ctxsim(*words: str) -> Outcome:
    """What the command line does."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """The environment of a process that finds this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def process(words: Sequence[str], *flags: str) -> subprocess.CompletedProcess[str]:
    """The finished process of ``python FLAGS -m ctxsim WORDS``."""
    command = [sys.executable, *flags, "-m", "ctxsim", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def answer(*words: str, code: int = 0) -> dict[str, Any]:
    """The JSON that a command prints; NaN in it is an error."""
    outcome = ctxsim(*words, "--json")
    assert outcome.code == code, outcome
    parsed: dict[str, Any] = json.loads(outcome.out, parse_constant=_no_constant)
    return parsed
