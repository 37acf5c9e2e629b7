"""Files as plain data that still knows where each value stood: YAML 1.2 or JSON, with line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ctxsim.errors import Fault, SpecError, shorten

Loc = tuple[str | int, ...]
"""The way to a value: keys and list indices from the top."""

Position = tuple[int, int]
"""Line and column, both counted from 1."""

KEPT = 64
"""Documents that are kept beside their text."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,400}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"(?P<sign>[-+]?)\.(?P<name>inf|Inf|INF|nan|NaN|NAN)")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


@dataclass(frozen=True)
class Document:
    """One file: ``data`` in plain Python, and where every key and value of it stood.

    ``overridden`` maps the way to a value set from outside to the words that set it, so that a fault there
    names them instead of a line.
    """

    path: str
    data: dict[str, object]
    values: Mapping[Loc, Position] = field(default_factory=dict)
    keys: Mapping[Loc, Position] = field(default_factory=dict)
    overridden: Mapping[Loc, str] = field(default_factory=dict)

    def position(self, loc: Loc) -> Position | None:
        """Line and column of the value, or of the nearest thing around it that the file holds."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self.values:
                return self.values[loc[:end]]
        return None

    def origin(self, loc: Loc) -> str | None:
        """The override that set the value or something around it, or None where the file did."""
        ways = (loc[:end] for end in range(len(loc), 0, -1))
        return next((self.overridden[way] for way in ways if way in self.overridden), None)

    def beside(self, loc: Loc, path: str) -> str:
        """A path that stands there: relative to the file's folder, or to the working directory when overridden."""
        return path if self.origin(loc) is not None else str(Path(self.path).parent / path)

    def fault(self, loc: Loc, message: str, *, at_key: bool = False) -> Fault:
        """The fault at that place, named by file, line and column or by the override that put it there."""
        name = dotted(loc)
        origin = self.origin(loc)
        if origin is not None:
            return Fault(origin, None, None, name, message)
        place = self.keys.get(loc) if at_key else None
        line, column = place or self.position(loc) or (None, None)
        return Fault(self.path, line, column, name, message)


def read_document(path: str | Path) -> Document:
    """The file as a Document; raises SpecError with every fault of its form.

    Faults: a missing file, a folder, an empty or binary file, wrong syntax, a duplicate key, an alias or tag,
    a top level that is not a mapping.
    """
    return parse_document(_read_text(Path(path)), str(path))


@lru_cache(maxsize=KEPT)
def parse_document(text: str, path: str) -> Document:
    """The YAML or JSON text as a Document that calls itself ``path``; raises SpecError as `read_document`.

    The last few are kept, since every point of a sweep reads the same profile, host and model: nobody changes them.
    """
    node = _compose(text, path)
    if node is None:
        raise SpecError(Fault(path, None, None, "", "expected a mapping of keys to values, found an empty file"))
    if not isinstance(node, MappingNode):
        found = "a list" if isinstance(node, SequenceNode) else f'"{shorten(node.value)}"'
        message = f"expected a mapping of keys to values at the top level, found {found}; write e.g. name: my-name"
        raise SpecError(Fault(path, *_position(node), "", message))
    reader = _Reader(path)
    data = reader.mapping(node, ())
    if reader.faults:
        raise SpecError(*reader.faults)
    return Document(path, data, reader.values, reader.keys)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value an unquoted word stands for in YAML 1.2 (so ``NO``, ``1_000`` and ``12:30`` stay text)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    match = _NOT_FINITE.fullmatch(text)
    return float(f"{match['sign']}{match['name']}") if match else text


def dotted(loc: Iterable[str | int]) -> str:
    """The way to a value as one writes it: ``tiers[1].capacity``."""
    name = ""
    for part in loc:
        name += f"[{part}]" if isinstance(part, int) else f".{shorten(part)}"
    return name.removeprefix(".")


@dataclass
class _Reader:
    """Turns composed nodes into plain data, collecting positions and faults on the way."""

    path: str
    values: dict[Loc, Position] = field(default_factory=dict)
    keys: dict[Loc, Position] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def mapping(self, node: MappingNode, loc: Loc) -> dict[str, object]:
        """The mapping as a dict; a key written twice is a fault that names both lines."""
        self.values[loc] = _position(node)
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fault(key_node, loc, "expected a word as a key, found a list or mapping; write e.g. name: value")
                continue
            key = str(key_node.value)
            here = (*loc, key)
            if key in data:
                message = f'expected each key once, found "{shorten(key)}" again (first on line {self.keys[here][0]})'
                self._fault(key_node, here, f"{message}; keep one of them")
                continue
            self.keys[here] = _position(key_node)
            data[key] = self.value(value_node, here)
        return data

    def value(self, node: Node, loc: Loc) -> object:
        """The node as plain data; aliases and tags are faults, so what is read is a tree of plain values."""
        at_key = self.keys.get(loc, _position(node))
        # An empty value starts only where the next thing does, and an alias where its original stands.
        self.values[loc] = at_key if node.value == "" else _position(node)
        if id(node) in self.seen:
            message = "expected a value, found an alias (*name) of another one; write the value out"
            self.faults.append(Fault(self.path, *at_key, dotted(loc), message))
            return None
        self.seen.add(id(node))
        if isinstance(node, MappingNode):
            return self.mapping(node, loc)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*loc, i)) for i, item in enumerate(node.value)]
        return _scalar(node)

    def _fault(self, node: Node, loc: Loc, message: str) -> None:
        self.faults.append(Fault(self.path, *_position(node), dotted(loc), message))


def _read_text(path: Path) -> str:
    """The file's text; raises SpecError where there is none."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(_file_fault(path, "expected a file, found none of that name; check the path")) from None
    except IsADirectoryError:
        raise SpecError(_file_fault(path, "expected a file, found a folder; name a file inside it")) from None
    except (OSError, ValueError) as error:
        raise SpecError(_file_fault(path, f"expected a readable file, found: {error}")) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SpecError(_file_fault(path, "expected UTF-8 text (YAML or JSON), found binary data"))
    return text


def _compose(text: str, path: str) -> Node | None:
    """The tree of nodes of one YAML document; raises SpecError at the place where the syntax breaks."""
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # an alias is refused later, so an anchor's name does not matter
    try:
        node: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        raise SpecError(_syntax_fault(path, error.problem_mark, str(error.problem or error.context))) from None
    except RecursionError:
        raise SpecError(Fault(path, None, None, "", "expected a few levels of nesting, found too many")) from None
    except Exception as error:
        # The parser lets plain exceptions of many types through on malformed directives, tags and escapes.
        detail = shorten(str(error).partition("\n")[0])
        raise SpecError(_syntax_fault(path, None, f"the parser cannot read it ({detail})")) from None
    return node


def _syntax_fault(path: str, mark: StreamMark | None, problem: str) -> Fault:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
    return Fault(path, line, column, "", f"expected YAML or JSON, found wrong syntax: {problem}")


def _file_fault(path: Path, message: str) -> Fault:
    return Fault(str(path), None, None, "", message)


def _scalar(node: Node) -> object:
    """The scalar's value; quoted and block text stays text."""
    text = str(node.value)
    quoted = isinstance(node, ScalarNode) and node.style is not None
    return text if quoted else plain_scalar(text)


def _position(node: Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1
