"""An imported scenario as the text of its file: every value with the words that it follows from."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from ctxsim.interop.importing import ASSUMED, Imported
from ctxsim.interop.reading import FlagUse, Status
from ctxsim.spec.written import as_file

OURS = "default of ctxsim, no flag of the engine"
LISTED: Mapping[Status, str] = {
    "not_modelled": "Not modelled, so without effect here:",
    "unknown": "Not in the table of this version, so not read:",
    "no_effect": "Without effect on what is simulated:",
}
FLAG_PARTS = ("deployment", "serving")


def scenario_text(imported: Imported, based: bool) -> str:
    """The file; loading it gives the imported scenario. ``based``: whether workload and run are another scenario's."""
    written = CommentedMap()
    for name, value in as_file(imported.scenario).items():
        written[name] = _commented(name, value, imported.origins) if name in FLAG_PARTS else value
        if name in imported.origins:
            written.yaml_add_eol_comment(_line(imported.origins[name]), name)
        elif name == "workload" and not based:
            written.yaml_set_comment_before_after_key(name, before=f"Workload and run: {ASSUMED}.")
    stream = io.StringIO()
    stream.writelines(f"# {line}".rstrip() + "\n" for line in _header(imported))
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 2**16
    yaml.dump(written, stream)
    return stream.getvalue()


def _commented(part: str, values: object, origins: Mapping[str, str]) -> CommentedMap:
    assert isinstance(values, dict)
    commented = CommentedMap(values)
    for key in values:
        commented.yaml_add_eol_comment(_line(origins.get(f"{part}.{key}", OURS)), key)
    return commented


def _header(imported: Imported) -> Iterator[str]:
    yield f"Imported from a command line of {imported.engine}, by its flags as of version {imported.version}:"
    for line in imported.command.strip().splitlines():
        yield f"  {_printable(line)}"
    for status, title in LISTED.items():
        found = [use for use in imported.uses if use.status == status]
        if found:
            yield title
            yield from map(_listed, found)
    if imported.unread:
        yield "Not read, since they are no flags of the engine:"
        yield f"  {_line(' '.join(imported.unread))}"


def _listed(use: FlagUse) -> str:
    words = use.flag if use.value is None else f"{use.flag} {use.value}"
    return f"  {_line(words)}" + (f": {use.note}" if use.note else "")


def _line(text: str) -> str:
    """The text on one line, unprintable characters escaped, so that it can be a comment."""
    return " ".join(_printable(text).split())


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
