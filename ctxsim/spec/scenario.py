"""A scenario: one model on one hardware under one workload, resolved from a file and checked."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML

from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.spec import catalog, checks
from ctxsim.spec.digest import file_sha256, sha256_of
from ctxsim.spec.document import Document, Loc, read_document
from ctxsim.spec.hardware import Hardware, load_hardware
from ctxsim.spec.hardware_file import read_host
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.serving import Deployment, PriceOverride, Run, Serving, Slo
from ctxsim.spec.validation import validate
from ctxsim.spec.workload import Trace, Workload
from ctxsim.units import exact

COST_MODEL_VERSION = "1"
"""Part of every digest; raised whenever the cost model gives other numbers for the same scenario."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Price:
    """What a fleet is billed: the scenario's prices where it gives them, else those of the profile and its host."""

    accelerator_usd_per_s: float
    host_memory_usd_per_byte_s: float
    disk_usd_per_byte_s: float
    energy_usd_per_j: float


@dataclass(frozen=True, slots=True)
class Names:
    """What a scenario's file calls its model, hardware and host: shipped names, or paths that can be opened."""

    model: str
    hardware: str
    host: str | None


@dataclass(frozen=True)
class Scenario:
    """A resolved and checked scenario; hashable, and equal to any other with the same contents.

    ``workload``: a trace's path can be opened from the working directory. ``path``: where the scenario was read.
    ``warnings``: what is unusual about it but no fault.
    """

    name: str
    model: ModelSpec
    hardware: Hardware
    fidelity: str
    deployment: Deployment
    serving: Serving
    techniques: tuple[str, ...]
    workload: Workload
    slo: Slo
    price: Price
    run: Run
    names: Names = field(compare=False)
    path: str = field(compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

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
        yaml.dump(_as_file(self), stream)
        return stream.getvalue()


def load_scenario(path_or_name: str | Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario of that name or path with the overrides set, resolved and checked.

    Raises SpecError with every fault of the file, of the model and hardware it names, and between them.
    """
    found = catalog.find("scenario", str(path_or_name))
    return resolve_scenario(apply_overrides(read_document(found), overrides or {}))


def resolve_scenario(document: Document) -> Scenario:
    """The scenario that the document describes; raises SpecError with all its faults."""
    faults: list[Fault] = []
    file = _collect(faults, document, lambda: _with_trace_placed(validate(ScenarioFile, document), document))
    model = _load(faults, document, "model", load_model)
    host = _load(faults, document, "host", read_host)
    host_name = _placed(document, "host") if host else None
    hardware = _load(faults, document, "hardware", lambda name: load_hardware(name, host=host_name))
    if file is not None:
        faults += _cross_faults(file, model, hardware, document)
    if faults or file is None or model is None or hardware is None:
        raise SpecError(*sorted(dict.fromkeys(faults), key=_order))
    return _scenario(file, model, hardware, document)


def _scenario(file: ScenarioFile, model: ModelSpec, hardware: Hardware, document: Document) -> Scenario:
    host = None if file.host is None else _placed(document, "host")
    return Scenario(
        name=file.name,
        model=model,
        hardware=hardware,
        fidelity=file.fidelity,
        deployment=file.deployment,
        serving=file.serving,
        techniques=file.techniques,
        workload=file.workload,
        slo=file.slo,
        price=_price(file.price, hardware),
        run=file.run,
        names=Names(_placed(document, "model"), _placed(document, "hardware"), host),
        path=document.path,
        warnings=tuple(checks.warnings_of(file.serving, model, hardware)),
    )


def _cross_faults(
    file: ScenarioFile, model: ModelSpec | None, hardware: Hardware | None, document: Document
) -> list[Fault]:
    """The faults between the parts, as far as the parts could be read."""
    faults = [*checks.support_faults(file, document), *checks.trace_faults(file.workload, document)]
    if model is not None:
        faults += checks.model_faults(file.deployment, model, document)
        faults += checks.length_faults(file.workload, _max_model_len(file.serving, model), document)
    if hardware is not None:
        faults += checks.hardware_faults(file.deployment, hardware, document)
    return faults


def _collect(faults: list[Fault], document: Document, make: Callable[[], T]) -> T | None:
    """What ``make`` gives, or None with its faults added; a fault that names no file stands at its key here."""
    try:
        return make()
    except SpecError as error:
        for fault in error.faults:
            faults.append(fault if fault.path else document.fault((fault.field,), fault.message))
    return None


def _load(faults: list[Fault], document: Document, key: str, load: Callable[[str], T]) -> T | None:
    """The description that the key names, or None with its faults added (a wrong type is the schema's fault)."""
    name = document.data.get(key)
    if not isinstance(name, str) or not name:
        return None
    place = _placed(document, key)
    if catalog.is_path(name) and not os.path.exists(place):
        message = f'expected a {key} file, found none at "{shorten(place)}"; check the path'
        faults.append(document.fault((key,), message))
        return None
    return _collect(faults, document, lambda: load(place))


def _placed(document: Document, key: str) -> str:
    """The name as it is, or the path as it can be opened from the working directory."""
    name = str(document.data[key])
    return _beside(document, (key,), name) if catalog.is_path(name) else name


def _beside(document: Document, loc: Loc, path: str) -> str:
    """A path in a scenario: relative to the scenario's folder, or to the working directory when overridden."""
    return path if document.origin(loc) is not None else str(Path(document.path).parent / path)


def _with_trace_placed(file: ScenarioFile, document: Document) -> ScenarioFile:
    if not isinstance(file.workload, Trace):
        return file
    trace = _beside(document, ("workload", "trace"), file.workload.trace)
    return file.model_copy(update={"workload": file.workload.model_copy(update={"trace": trace})})


def _price(override: PriceOverride, hardware: Hardware) -> Price:
    def chosen(ours: float | None, profile: float) -> float:
        return profile if ours is None else ours

    return Price(
        chosen(override.accelerator, hardware.accelerator_usd_per_s),
        chosen(override.host_memory, hardware.host_memory_usd_per_byte_s),
        chosen(override.disk, hardware.disk_usd_per_byte_s),
        chosen(override.energy, hardware.energy_usd_per_j),
    )


def _max_model_len(serving: Serving, model: ModelSpec) -> int:
    return serving.max_model_len or model.max_context_tokens


def _order(fault: Fault) -> tuple[str, int, int]:
    return fault.path, fault.line or 0, fault.column or 0


def _as_file(scenario: Scenario) -> dict[str, object]:
    """The scenario in the shape of its file, quantities as text that parses back to the same numbers."""
    parts = ("deployment", "serving", "workload", "slo", "run")
    written = {part: getattr(scenario, part).model_dump(mode="json", exclude_none=True) for part in parts}
    if isinstance(scenario.workload, Trace):
        written["workload"]["trace"] = str(Path(scenario.workload.trace).resolve())
    names = {key: name for key, name in asdict(scenario.names).items() if name is not None}
    return {
        "name": scenario.name,
        **{key: str(Path(name).resolve()) if catalog.is_path(name) else name for key, name in names.items()},
        "fidelity": scenario.fidelity,
        "techniques": list(scenario.techniques),
        **written,
        "price": {
            "accelerator": exact(scenario.price.accelerator_usd_per_s, "usd_per_s"),
            "host_memory": exact(scenario.price.host_memory_usd_per_byte_s, "usd_per_byte_s"),
            "disk": exact(scenario.price.disk_usd_per_byte_s, "usd_per_byte_s"),
            "energy": exact(scenario.price.energy_usd_per_j, "usd_per_joule"),
        },
    }
