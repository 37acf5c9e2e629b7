"""Traces as they are asked for on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ctxsim.errors import Fault, SpecError
from ctxsim.tracing.trace import check_path
from ctxsim.tracing.window import Window


class TraceOrder(NamedTuple):
    """Where a trace is to be written, and what of the run."""

    path: Path
    window: Window


def asked(
    path: Path | None, from_s: float | None, until_s: float | None, max_events: int | None, replications: int | None
) -> TraceOrder | None:
    """The order that these options make, None where there are none.

    Raises SpecError where a trace cannot be written there, has no path, or would be of several runs.
    """
    given = {"from": ("from_s", from_s), "until": ("until_s", until_s), "max-events": ("max_events", max_events)}
    options = {option: setting for option, setting in given.items() if setting[1] is not None}
    if path is None:
        if options:
            raise _fault(f"expected it beside --trace-{next(iter(options))}, found none; write e.g. trace.json.gz")
        return None
    if replications is not None:
        would_do = "leave out --replications; --seed chooses another run"
        raise _fault(f"expected one run, found {replications} replications; {would_do}")
    settings: dict[str, Any] = dict(options.values())
    return TraceOrder(check_path(path), Window(**settings))


def _fault(message: str) -> SpecError:
    return SpecError(Fault("", None, None, "--trace-out", message))
