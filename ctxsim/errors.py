"""The errors ctxsim raises on purpose, and the wording they share.

A message says what was expected, what was found and what would do:
``<what was expected>, found <what was there>; <what would do>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in an input: where it stands (1-based line and column), which field, and what would do."""

    path: str
    line: int | None
    column: int | None
    field: str
    message: str

    def __str__(self) -> str:
        """``file:line:column: field: message``; parts that are unknown are left out."""
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part not in (None, ""))
        return ": ".join(part for part in (place, self.field, self.message) if part)


class CtxsimError(Exception):
    """The base of every error that a user can cause; ``exit_code`` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class SpecError(CtxsimError):
    """An input that cannot be used; carries every fault that was found in it, and prints them one a line."""

    exit_code = 2

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class InfeasibleError(CtxsimError):
    """A valid scenario that cannot run on its hardware; ``reason`` says by how much it fails and what would do."""

    exit_code = 3

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MissingExtraError(CtxsimError):
    """A command that needs an optional part of the package; the message is the command that installs it."""

    exit_code = 5

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs the extra "{extra}"; install it with: pip install "ctxsim[{extra}]"')
        self.extra = extra


def nearest(word: str, candidates: Iterable[str]) -> str:
    """``; did you mean "x"?`` for the candidate closest to the word (case aside), or nothing where none is close."""
    spelled = {candidate.lower(): candidate for candidate in candidates}
    close = get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    return f'; did you mean "{spelled[close[0]]}"?' if close else ""


def shorten(text: str) -> str:
    """The text as a message can quote it: at most 60 characters, unprintable ones escaped."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return cut if cut.isprintable() else repr(cut)[1:-1]
