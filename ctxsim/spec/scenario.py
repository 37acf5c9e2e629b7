"""A scenario: one model on one hardware under one workload, resolved from a file and checked."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML

from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.spec import catalog, checks
from ctxsim.spec.calibration import Calibration
from ctxsim.spec.calibration_choice import calibration_of, guesses
from ctxsim.spec.decoding_checks import context_faults, decoding_faults, drafting_faults, reading_faults
from ctxsim.spec.digest import file_sha256, sha256_of
from ctxsim.spec.document import Document, Loc, read_document
from ctxsim.spec.drafts import draft_model
from ctxsim.spec.hardware import Hardware, load_hardware
from ctxsim.spec.hardware_file import read_host
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.scenario_stack import Stack, stacked
from ctxsim.spec.serving import Deployment, PriceOverride, Run, Serving, Slo
from ctxsim.spec.techniques import Applied
from ctxsim.spec.validation import validate
from ctxsim.spec.workload import Trace, Workload
from ctxsim.spec.written import as_file

COST_MODEL_VERSION = "4"
"""Part of every digest; raised whenever the cost model gives other numbers for the same scenario."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Price:
    """What a fleet is billed: the scenario's prices where it gives them, else those of the profile and its host.

    energy_billed: whether energy is paid for beside the accelerators, as of a machine that is owned; a rent covers it.
    """

    accelerator_usd_per_s: float
    host_memory_usd_per_byte_s: float
    disk_usd_per_byte_s: float
    energy_usd_per_j: float
    energy_billed: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """What a scenario's file calls its model, hardware and host: shipped names, or paths that can be opened.

    ``set_fields``: parts and names of the settings that its techniques have set.
    """

    model: str
    hardware: str
    host: str | None
    calibration: str | None = None
    set_fields: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Scenario:
    """A resolved and checked scenario; hashable, and equal to any other with the same contents.

    ``workload``: a trace's path can be opened from the working directory. ``path``: where the scenario was read.
    ``warnings``: what is unusual about it but no fault. ``others``: further groups of replicas, each as a scenario of
    its own hardware and deployment; hardware, calibration, deployment and price are those of the first group.
    ``calibration``: None at fidelity peak. ``draft``: what drafts for the model, if anything. ``document``: what it
    was resolved from, overrides included. ``techniques``: as they are written; model, serving and deployment have them
    ``applied``.
    """

    name: str
    model: ModelSpec
    hardware: Hardware
    fidelity: str
    calibration: Calibration | None
    deployment: Deployment
    serving: Serving
    techniques: tuple[str, ...] = field(compare=False)
    workload: Workload
    slo: Slo
    price: Price
    run: Run
    names: Names = field(compare=False)
    path: str = field(compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    others: tuple[Scenario, ...] = ()
    applied: tuple[Applied, ...] = ()
    draft: ModelSpec | None = None
    document: Document | None = field(default=None, compare=False, repr=False)

    @cached_property
    def fleet(self) -> tuple[Scenario, ...]:
        """One scenario for each kind of replicas, this one's own first; none of them has others."""
        return (replace(self, others=()), *self.others) if self.others else (self,)

    @property
    def calibration_name(self) -> str | None:
        """The calibration's name; None at fidelity peak."""
        return None if self.calibration is None else self.calibration.name

    @property
    def max_model_len(self) -> int:
        """The longest context that is served: the setting, or the model's window where there is none."""
        return _max_model_len(self.serving, self.model)

    @cached_property
    def sha256(self) -> str:
        """Digest of all resolved contents (model, profile, settings, workload and its trace) and the cost model.

        Where the files lie does not count. Raises OSError where the trace is gone.
        """
        contents = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        contents["others"] = [(o.deployment, o.hardware, o.calibration, o.price) for o in self.others]
        if isinstance(self.workload, Trace):
            digest = file_sha256(Path(self.workload.trace))
            contents["workload"] = self.workload.model_copy(update={"trace": digest})
        return sha256_of({"cost_model": COST_MODEL_VERSION, **contents})

    def to_yaml(self) -> str:
        """The scenario as a file with every default and price written out; loading it gives an equal scenario.

        Paths are absolute, so that it can be loaded from any folder.
        """
        stream = io.StringIO()
        yaml = YAML()
        yaml.default_flow_style = False
        yaml.dump(as_file(self), stream)
        return stream.getvalue()


def load_scenario(path_or_name: str | Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario of that name or path with the overrides set, resolved and checked.

    Raises SpecError with every fault of the file, of the model and hardware it names, and between them.
    """
    return resolve_scenario(scenario_document(path_or_name, overrides))


def scenario_document(path_or_name: str | Path, overrides: Mapping[str, object] | None = None) -> Document:
    """The scenario's file with the overrides set, read but not checked; raises SpecError where there is none."""
    return apply_overrides(read_document(catalog.find("scenario", str(path_or_name))), overrides or {})


def document_of(scenario: Scenario) -> Document:
    """What the scenario was resolved from; raises SpecError where it was changed since, in Python."""
    if scenario.document is None or resolve_scenario(scenario.document) != scenario:
        message = "expected a scenario as it was loaded, found one that was changed since"
        raise SpecError(Fault(scenario.path, None, None, "", f"{message}; load it with overrides instead"))
    return scenario.document


def resolve_scenario(document: Document) -> Scenario:
    """The scenario that the document describes; raises SpecError with all its faults."""
    faults: list[Fault] = []
    file = _collect(faults, document, lambda: _with_trace_placed(validate(ScenarioFile, document), document))
    model = _load(faults, document, ("model",), load_model)
    stack = stacked(file, model, document, faults) if file is not None and model is not None else None
    if stack is not None:
        file, model = stack.file, stack.model
    machines = [_machine(faults, document, place, file) for place in _places(document)]
    if file is not None:
        faults += _cross_faults(file, model, machines, document)
    draft = None
    if file is not None and model is not None:
        make = partial(draft_model, file.serving, model)
        draft = _collect(faults, document, make, ("serving", "speculation", "draft"))
    if file is not None and draft is not None:
        faults += [fault for m in machines for fault in drafting_faults(draft, m.deployment(file), document)]
    if faults or stack is None:
        raise SpecError(*sorted(dict.fromkeys(faults), key=_order))
    first, *others = (replace(_scenario(stack, machine, document), draft=draft) for machine in machines)
    return replace(first, others=tuple(others), document=document)


def _scenario(stack: Stack, machine: _Machine, document: Document) -> Scenario:
    """The scenario of one group of replicas."""
    assert machine.hardware is not None
    file, model = stack.file, stack.model
    model_name = _placed(document, ("model",))
    return Scenario(
        name=file.name,
        model=model,
        hardware=machine.hardware,
        fidelity=file.fidelity,
        calibration=machine.calibration,
        deployment=machine.deployment(file),
        serving=file.serving,
        techniques=file.techniques,
        workload=file.workload,
        slo=file.slo,
        price=_price(file.price, machine.hardware),
        run=file.run,
        names=Names(model_name, machine.name, machine.host, file.calibration, stack.set_fields),
        path=document.path,
        applied=stack.applied,
        warnings=(*checks.warnings_of(file.serving, model), *guesses(machine.hardware, machine.calibration)),
    )


def _cross_faults(
    file: ScenarioFile, model: ModelSpec | None, machines: Sequence[_Machine], document: Document
) -> list[Fault]:
    """The faults between the parts, as far as the parts could be read."""
    faults = [*checks.support_faults(file, document), *checks.trace_faults(file.workload, document)]
    faults += checks.residency_faults(file, document)
    if model is not None:
        faults += decoding_faults(file.serving, file.fidelity, model, document)
        faults += checks.length_faults(file.workload, _max_model_len(file.serving, model), document)
    for machine in machines:
        deployment, place = machine.deployment(file), ("deployment", *machine.place)
        if model is not None:
            faults += checks.model_faults(deployment, model, document, place)
        if machine.hardware is not None:
            faults += checks.hardware_faults(deployment, machine.hardware, document, place)
            faults += checks.format_faults(file.serving, machine.hardware, document)
            if model is not None:
                faults += context_faults(deployment, file.fidelity, model, machine.hardware, document)
            faults += reading_faults(file.serving, machine.hardware, document)
            faults += checks.room_faults(file.serving, machine.hardware, document)
    return faults


@dataclass(frozen=True, slots=True)
class _Machine:
    """What one group of replicas runs on: what the file calls it, and what that is (None where it has faults).

    ``calibration``: of its hardware, where the scenario asks for one.
    ``place``: the way from ``deployment`` to the group; nothing for the deployment's own replicas.
    """

    place: Loc
    name: str
    host: str | None
    hardware: Hardware | None
    calibration: Calibration | None

    def deployment(self, file: ScenarioFile) -> Deployment:
        """The deployment of these replicas alone."""
        if self.place:
            return file.deployment.of_group(file.deployment.groups[int(self.place[1])])
        return file.deployment.model_copy(update={"groups": ()})


def _places(document: Document) -> list[Loc]:
    """The groups of replicas that the document has, its own first."""
    groups = _value(document, ("deployment", "groups"))
    further: list[Loc] = [("groups", n) for n in range(len(groups))] if isinstance(groups, list) else []
    return [(), *further]


def _machine(faults: list[Fault], document: Document, place: Loc, file: ScenarioFile | None) -> _Machine:
    """The hardware of one group of replicas; one that names none has the scenario's."""
    own: Loc = ("deployment", *place) if place else ()
    named = own if _value(document, (*own, "hardware")) is not None else ()
    hosted = own if _value(document, (*own, "host")) is not None else named
    host = _load(faults, document, (*hosted, "host"), read_host)
    host_name = None if host is None else _placed(document, (*hosted, "host"))
    way = (*named, "hardware")
    hardware = _load(faults, document, way, lambda name: load_hardware(name, host=host_name))
    calibration = None
    if file is not None and file.fidelity == "calibrated" and hardware is not None:
        named_calibration = None if named else _placed_or_none(document, ("calibration",))
        make = partial(calibration_of, hardware, named_calibration)
        calibration = _collect(faults, document, make, ("calibration",) if named_calibration else ("fidelity",))
    return _Machine(place, _placed(document, way), host_name, hardware, calibration)


def _collect(faults: list[Fault], document: Document, make: Callable[[], T], loc: Loc = ()) -> T | None:
    """What ``make`` gives, or None with its faults added; a fault that names no file stands at its key here."""
    try:
        return make()
    except SpecError as error:
        for fault in error.faults:
            faults.append(fault if fault.path else document.fault((*loc[:-1], fault.field), fault.message))
    return None


def _load(faults: list[Fault], document: Document, loc: Loc, load: Callable[[str], T]) -> T | None:
    """The description that stands there by name, or None with its faults added (a wrong type is the schema's fault)."""
    name = _value(document, loc)
    if not isinstance(name, str) or not name:
        return None
    place = _placed(document, loc)
    if catalog.is_path(name) and not os.path.exists(place):
        message = f'expected a {loc[-1]} file, found none at "{shorten(place)}"; check the path'
        faults.append(document.fault(loc, message))
        return None
    return _collect(faults, document, lambda: load(place), loc)


def _value(document: Document, loc: Loc) -> object:
    """What the document has there, or None."""
    value: object = document.data
    for part in loc:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return None
    return value


def _placed(document: Document, loc: Loc) -> str:
    """The name as it is, or the path as it can be opened from the working directory."""
    name = str(_value(document, loc))
    return document.beside(loc, name) if catalog.is_path(name) else name


def _placed_or_none(document: Document, loc: Loc) -> str | None:
    return None if _value(document, loc) is None else _placed(document, loc)


def _with_trace_placed(file: ScenarioFile, document: Document) -> ScenarioFile:
    if not isinstance(file.workload, Trace):
        return file
    trace = document.beside(("workload", "trace"), file.workload.trace)
    return file.model_copy(update={"workload": file.workload.model_copy(update={"trace": trace})})


def _price(override: PriceOverride, hardware: Hardware) -> Price:
    def chosen(ours: float | None, profile: float) -> float:
        return profile if ours is None else ours

    return Price(
        chosen(override.accelerator, hardware.accelerator_usd_per_s),
        chosen(override.host_memory, hardware.host_memory_usd_per_byte_s),
        chosen(override.disk, hardware.disk_usd_per_byte_s),
        chosen(override.energy, hardware.energy_usd_per_j),
        override.energy_billed,
    )


def _max_model_len(serving: Serving, model: ModelSpec) -> int:
    return serving.max_model_len or model.max_context_tokens


def _order(fault: Fault) -> tuple[str, int, int]:
    return fault.path, fault.line or 0, fault.column or 0
