"""The faults of one trace file, collected so that they are reported all at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NoReturn

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.lengths import MAX_TOKENS

LISTED_FAULTS = 20
"""How many faults of a file are spelled out; the rest is counted."""

SHOWN_CHARACTERS = 40
"""How much of a wrong value a message repeats."""

MAX_TIME = 2**53
"""The largest time that is read: above it a float no longer tells whole units apart."""


class TraceFaults:
    """The faults found so far in one file."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._listed: list[Fault] = []
        self._total = 0

    def add(self, line: int | None, field: str, message: str, column: int | None = None) -> None:
        """One more fault is known; only the first ``LISTED_FAULTS`` keep their text."""
        self._total += 1
        if len(self._listed) < LISTED_FAULTS:
            self._listed.append(Fault(self._path, line, column, field, message))

    def raise_if_any(self) -> None:
        """Raises SpecError with the listed faults and a last one that counts the others; nothing where none is."""
        more = self._total - len(self._listed)
        if more:
            self._listed.append(Fault(self._path, None, None, "", f"... and {more:,} more"))
        if self._listed:
            raise SpecError(*self._listed)


def refuse(path: Path, message: str) -> NoReturn:
    """Raises SpecError for the file as a whole."""
    raise SpecError(Fault(str(path), None, None, "", message))


def shown(value: object) -> str:
    """A value as JSON writes it, cut to a readable length."""
    if isinstance(value, str):
        return json.dumps(_cut(value))
    return _cut(json.dumps(value, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def token_fault(value: object, least: int) -> str | None:
    """What is wrong with a number of tokens (a whole one, ``least`` to MAX_TOKENS), or None where nothing is."""
    if type(value) is not int:
        return f"expected a whole number of tokens, found {shown(value)}; write it as a plain number like 512"
    if value < 0:
        return f"expected a number of tokens of at least {least}, found {value}; remove or correct the request"
    if value < least:
        return f"expected a prompt of at least 1 token, found {value}; remove the request"
    if value > MAX_TOKENS:
        return f"expected at most {MAX_TOKENS:,} tokens, found {shown(value)}; remove or correct the request"
    return None


def time_fault(value: object, unit: str) -> str | None:
    """What is wrong with a point in time (finite, not negative, in ``unit``), or None where nothing is."""
    if type(value) is not int and type(value) is not float:
        return f"expected a number of {unit}, found {shown(value)}; write it as a plain number"
    if type(value) is float and not math.isfinite(value):
        return f"expected a finite number of {unit}, found {shown(value)}; remove or correct the request"
    if value < 0:
        return f"expected a number of {unit} of at least 0, found {shown(value)}; count from the trace's start"
    if value > MAX_TIME:
        return f"expected at most {MAX_TIME:,} {unit}, found {shown(value)}; count from the trace's start"
    return None
