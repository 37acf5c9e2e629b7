"""What a command found, and how it is printed: JSON in one envelope, or text for people; errors alike."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ctxsim import __version__
from ctxsim.errors import CtxsimError, SpecError
from ctxsim.units import parse

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPED_WIDTH = 100
"""Columns of tables that do not go to a terminal."""

_STARTED_S = time.perf_counter()


@dataclass(frozen=True)
class Answer:
    """What a command found.

    verb: the word of its JSON schema. result: keys and values in SI units. text: the same for people, made only when
    it is printed. exit_code: 3 or 4 where the answer is a no; failure: why, in one sentence.
    """

    verb: str
    result: Mapping[str, Any]
    text: Callable[[], Iterable[RenderableType]]
    as_json: bool
    scenario_sha256: str | None = None
    warnings: Sequence[str] = ()
    exit_code: int = 0
    failure: str | None = None


def deliver(answer: Answer) -> int:
    """Prints the answer to stdout, warnings and failure to stderr; returns the exit code."""
    say(_envelope(answer) if answer.as_json else _rendered(answer.text()), sys.stdout)
    for warning in () if answer.as_json else answer.warnings:
        say(f"warning: {warning}\n", sys.stderr)
    if answer.failure is not None:
        say(f"{answer.failure}\n", sys.stderr)
    return answer.exit_code


def deliver_error(message: str, code: int, as_json: bool, error: BaseException | None = None) -> int:
    """Prints the message to stderr, or as JSON to stdout with every fault of a SpecError; returns the exit code."""
    if not as_json:
        say(f"{message}\n", sys.stderr)
        return code
    found = error.faults if isinstance(error, SpecError) else ()
    faults = [
        {"path": f.path, "line": f.line, "column": f.column, "field": f.field, "message": f.message} for f in found
    ]
    body = {"code": code, "message": message, "faults": faults}
    say(json.dumps({"schema": "ctxsim.error/1", "version": __version__, "error": body}, indent=2) + "\n", sys.stdout)
    return code


def say(text: str, stream: TextIO) -> None:
    """Writes the text at once; where the reader (head, less) has seen enough, does nothing more with the stream."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # Else the interpreter would flush into the closed pipe again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class StoppedError(CtxsimError):
    """A run that the user stopped; the message says how far it got."""

    exit_code = 130


def _envelope(answer: Answer) -> str:
    from ctxsim.api.jsonable import dumps

    return dumps(
        {
            "schema": f"ctxsim.{answer.verb}/1",
            "version": __version__,
            "scenario_sha256": answer.scenario_sha256,
            "warnings": list(answer.warnings),
            "result": answer.result,
            "meta": {"wall_s": time.perf_counter() - _STARTED_S, "peak_rss_bytes": _peak_rss_bytes()},
        }
    )


def _peak_rss_bytes() -> float | None:
    """The most memory this process held so far, or None on a system that does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return parse(f"{peak} B" if sys.platform == "darwin" else f"{peak} KiB", "bytes")


def _rendered(blocks: Iterable[RenderableType]) -> str:
    """The blocks as text as wide as the terminal, or 100 columns where there is none; strings as they are."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        for block in blocks:
            console.print(block, soft_wrap=isinstance(block, str))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
