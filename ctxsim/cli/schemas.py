"""JSON Schemas of the files that users write, and of some answers, for editors and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from ctxsim.explore.cliff import Cliff
from ctxsim.explore.residency.answer import ResidencyAnswer
from ctxsim.spec.explicit import ExplicitModel
from ctxsim.spec.hardware_file import HardwareFile, HostFile
from ctxsim.spec.scenario_file import ScenarioFile

# Editors' language servers read draft-07 and older; what pydantic writes for these files is valid in it.
DRAFT = "http://json-schema.org/draft-07/schema#"

FILES: Mapping[str, type[BaseModel]] = {
    "scenario": ScenarioFile,
    "hardware": HardwareFile,
    "host": HostFile,
    "model": ExplicitModel,
}
"""The kinds of file by name; a Hugging Face config.json is not ours to describe."""

ANSWERS: Mapping[str, TypeAdapter[Any]] = {
    "residency": TypeAdapter(ResidencyAnswer),
    "cliff": TypeAdapter(Cliff),
}
"""The ``result`` of a command's JSON, by the command."""

_PLACE = "#/$defs/"


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file, or of a command's result."""
    schema = ANSWERS[kind].json_schema() if kind in ANSWERS else FILES[kind].model_json_schema()
    named = _readable_names(schema.get("$defs", {}))
    for name, definition in schema.get("$defs", {}).items():
        definition["title"] = named[name]
    renamed: dict[str, Any] = _renamed(schema, named)
    return {"$schema": DRAFT, **renamed}


def _readable_names(definitions: Mapping[str, Any]) -> dict[str, str]:
    """A short name for each definition: pydantic spells out the whole type of a generic one, we number them."""
    generic = [name for name in definitions if "Sourced" in name]
    return {name: f"Sourced{generic.index(name) + 1}" if name in generic else name for name in definitions}


def _renamed(node: Any, named: Mapping[str, str]) -> Any:
    """The schema with its definitions, and all references to them, under the new names."""
    if isinstance(node, list):
        return [_renamed(item, named) for item in node]
    if isinstance(node, dict):
        return {named.get(key, key): _renamed(value, named) for key, value in node.items()}
    if isinstance(node, str) and node.startswith(_PLACE):
        return _PLACE + named[node.removeprefix(_PLACE)]
    return node
