"""A scenario's techniques, applied once to its model, serving and deployment."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.spec import catalog
from ctxsim.spec.document import Document
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.techniques import Applied, StackError, Subject, Technique, apply_all, load_technique, parse_written


@dataclass(frozen=True)
class Stack:
    """A scenario's file and model as its techniques leave them; ``set_fields``: settings that these have set."""

    file: ScenarioFile
    model: ModelSpec
    applied: tuple[Applied, ...] = ()
    set_fields: frozenset[tuple[str, str]] = frozenset()


def stacked(file: ScenarioFile, model: ModelSpec, document: Document, faults: list[Fault]) -> Stack:
    """Both with the techniques applied, or as they are with the faults added."""
    if not file.techniques:
        return Stack(file, model)
    loaded = [_load(i, written, document, faults) for i, written in enumerate(file.techniques)]
    techniques = [technique for technique in loaded if technique is not None]
    placed = tuple(technique.written for technique in techniques)
    if len(techniques) < len(loaded):
        return Stack(file, model)
    try:
        changed = apply_all(techniques, Subject(model, file.serving, file.deployment))
    except StackError as error:
        found = shorten(file.techniques[error.place])
        message = f'expected a technique that can be applied here, found "{found}": {error}'
        faults.append(document.fault(("techniques", error.place), message))
        return Stack(file, model)
    subject = changed.subject
    update = {"serving": subject.serving, "deployment": subject.deployment, "techniques": placed}
    return Stack(file.model_copy(update=update), subject.model, changed.applied, changed.set_fields)


def _load(place: int, written: str, document: Document, faults: list[Fault]) -> Technique | None:
    """The technique, its path placed beside the scenario; None with its faults added."""
    loc = ("techniques", place)
    try:
        name, _ = parse_written(written)
        path = document.beside(loc, name) if catalog.is_path(name) else name
        return load_technique(written.replace(name, path, 1))
    except SpecError as error:
        faults += [fault if fault.path else document.fault(loc, fault.message) for fault in error.faults]
    return None
