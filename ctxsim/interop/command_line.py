"""A pasted command line as words: what starts the engine, its flags, and what stands around them."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.interop.flags import Engine, Flag, FlagTable

LAUNCHERS: tuple[tuple[Engine, tuple[str, ...]], ...] = (
    ("vllm", ("vllm", "serve")),
    ("vllm", ("-m", "vllm.entrypoints.openai.api_server")),
    ("sglang", ("-m", "sglang.launch_server")),
    ("sglang", ("sglang", "serve")),
)
"""The words that start an engine; what follows are its arguments."""

ENDS = ";&|<>"
"""What the shell ends a command with, or sends its output elsewhere."""

HIDDEN = "***"

_CONTINUED = re.compile(r"\\[ \t]*\r?\n")
_PARTS = re.compile(
    r"(?P<quoted>'[^']*'|\"(?:\\.|[^\"\\])*\")|(?P<comment>^[ \t]*#.*$)|(?P<more>\n(?=\s*-))|\n", re.MULTILINE
)
_SECRET = re.compile(
    r"(\b\w*(?:TOKEN|KEY|SECRET|PASSWORD)\w*=|--(?:api[-_]key|hf[-_]token)(?:=|\s+))(?:'[^']*'|\"[^\"]*\"|[^\s'\"-]\S*)"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_NUMBER = re.compile(r"-\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Command:
    """``environment``: NAME=VALUE words before it; ``around``: other words that are not the engine's."""

    engine: Engine
    environment: tuple[str, ...]
    around: tuple[str, ...]
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A flag as it was typed; ``value``: None where it stands alone."""

    spelled: str
    value: str | None

    def __str__(self) -> str:
        return self.spelled if self.value is None else f"{self.spelled} {shorten(self.value)}"


def read_command(text: str) -> Command:
    """The command in the text; raises SpecError where nothing in it starts an engine, or a quote is left open."""
    words = _words(text)
    for engine, launcher in LAUNCHERS:
        begin = _find(words, launcher)
        if begin is not None:
            arguments, after = _until_end(words[begin + len(launcher) :])
            before = [word for word in words[:begin] if not PurePath(word).name.startswith("python")]
            environment = tuple(word for word in before if _ASSIGNMENT.fullmatch(word))
            around = tuple(word for word in before if word not in environment)
            return Command(engine, environment, (*around, *after), tuple(arguments))
    wanted = "expected vllm serve ... or python -m sglang.launch_server ..."
    raise SpecError(_fault(f'{wanted}, found "{shorten(text.strip())}"; paste the whole command'))


def read_arguments(arguments: Sequence[str], table: FlagTable) -> tuple[tuple[str, ...], tuple[Given, ...]]:
    """The words that stand for themselves, and the flags with what belongs to them.

    Of a flag that the table does not have, the next word is taken to be the value unless it is a flag itself.
    """
    waiting, alone, given = deque(arguments), [], []
    while waiting:
        word = waiting.popleft()
        if _is_flag(word):
            given.append(_given(word, waiting, table))
        else:
            alone.append(word)
    return tuple(alone), tuple(given)


def normalized(spelled: str) -> str:
    """The flag as the tables have it: dashes for underscores, without the key after a dot."""
    if not spelled.startswith("--"):
        return spelled
    return spelled.partition(".")[0].replace("_", "-")


def negated(name: str, table: FlagTable) -> Flag | None:
    """The switch that a ``--no-`` flag turns off."""
    flag = table.find(f"--{name.removeprefix('--no-')}") if name.startswith("--no-") else None
    return flag if flag is not None and flag.kind == "switch" and table.switches_negate else None


def without_secrets(text: str) -> str:
    """The text with the values of keys and tokens hidden, since it goes into files that are shared."""
    return _SECRET.sub(rf"\1{HIDDEN}", text)


def _words(text: str) -> list[str]:
    """The words of the shell; a line that does not begin with a flag begins another command."""
    lines = _CONTINUED.sub(" ", text.strip().removeprefix("$ "))
    scanner = shlex.shlex(_PARTS.sub(_joined, lines), posix=True, punctuation_chars=ENDS)
    scanner.whitespace_split, scanner.commenters = True, ""
    try:
        return list(scanner)
    except ValueError as error:
        raise SpecError(_fault(f"expected quotes in pairs, found {str(error).lower()}; close the quote")) from None


def _joined(part: re.Match[str]) -> str:
    """Quotes as they are, no comments, line breaks as what they mean."""
    if part["quoted"] is not None:
        return part["quoted"]
    return " " if part["comment"] is not None or part["more"] is not None else " ; "


def _find(words: Sequence[str], launcher: tuple[str, ...]) -> int | None:
    """Where the launcher's words stand, by the last part of a path."""
    for begin in range(len(words) - len(launcher) + 1):
        first, *rest = words[begin : begin + len(launcher)]
        if (PurePath(first).name, *rest) == launcher:
            return begin
    return None


def _until_end(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    end = next((place for place, word in enumerate(words) if word and set(word) <= set(ENDS)), len(words))
    return words[:end], words[end:]


def _given(word: str, waiting: deque[str], table: FlagTable) -> Given:
    spelled, equals, inline = word.partition("=")
    flag = table.find(normalized(spelled))
    if flag is None and spelled.startswith("-O") and len(spelled) > 2 and table.find("-O"):
        return Given("-O", spelled[2:])
    if equals:
        return Given(spelled, inline)
    if flag is not None and flag.kind == "list":
        return Given(spelled, " ".join(_taken(waiting)) or None)
    if negated(normalized(spelled), table) or (flag is not None and flag.kind == "switch"):
        follows = bool(waiting) and waiting[0].lower() in ("true", "false")
    else:
        follows = bool(waiting) and not _is_flag(waiting[0])
    return Given(spelled, waiting.popleft() if follows else None)


def _taken(waiting: deque[str]) -> list[str]:
    """The words up to the next flag, which no longer wait."""
    taken = []
    while waiting and not _is_flag(waiting[0]):
        taken.append(waiting.popleft())
    return taken


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word)


def _fault(message: str) -> Fault:
    return Fault("command line", None, None, "", message)
