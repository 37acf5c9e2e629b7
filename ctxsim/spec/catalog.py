"""Where shipped descriptions live: the folder of each kind, and a name or path turned into a file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from ctxsim.errors import Fault, SpecError, shorten

Kind = Literal["hardware", "host", "calibration", "model", "technique", "scenario"]

FOLDERS: Mapping[Kind, str] = {
    "hardware": "hardware_profiles",
    "host": "hardware_profiles/hosts",
    "calibration": "hardware_profiles/calibrations",
    "model": "models",
    "technique": "techniques",
    "scenario": "scenarios",
}
"""The folder of each kind, below the package's data (installed) or the repository (from a checkout)."""

_PACKAGE = Path(__file__).resolve().parent.parent
_ROOTS = (_PACKAGE / "_data", _PACKAGE.parent)
_SUFFIXES = (".yaml", ".yml", ".json")


def names(kind: Kind) -> list[str]:
    """The names that ship with the package, sorted."""
    return sorted(_shipped(kind))


def find(kind: Kind, name_or_path: str) -> Path:
    """The file of a shipped name, or the path as given where it has a suffix or a folder in it.

    A path is not opened here: reading it reports a missing file. Raises SpecError for an unknown name.
    """
    shipped = _shipped(kind)
    if name_or_path in shipped:
        return shipped[name_or_path]
    if is_path(name_or_path):
        return Path(name_or_path)
    what = "hardware profile" if kind == "hardware" else kind
    message = f'expected the name of a {what} or a path to its file, found "{shorten(name_or_path)}"'
    raise SpecError(Fault("", None, None, kind, message + _what_would_do(kind, name_or_path)))


def is_path(text: str) -> bool:
    """Whether the text is meant as a path: it has a folder or a suffix of ours."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)


@cache
def _shipped(kind: Kind) -> dict[str, Path]:
    """Name to file, from the first root that has the folder."""
    for root in _ROOTS:
        folder = root / FOLDERS[kind]
        if folder.is_dir():
            return {file.stem: file for file in folder.iterdir() if file.suffix in _SUFFIXES}
    return {}


def _what_would_do(kind: Kind, name: str) -> str:
    """The one name that is meant where it is clear, else the three nearest, else all that are known."""
    known = names(kind)
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.85) or get_close_matches(
        name.lower(), known, n=3, cutoff=0.5
    )
    if close:
        return "; did you mean " + " or ".join(f'"{match}"' for match in close) + "?"
    return f"; known: {', '.join(known) or 'none'}"
