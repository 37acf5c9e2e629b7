"""From an engine's command line to a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctxsim.errors import Fault, SpecError
from ctxsim.interop.checkpoints import shipped_model, weight_format
from ctxsim.interop.command_line import Given, normalized, read_arguments, read_command, without_secrets
from ctxsim.interop.flags import FlagTable, flag_table
from ctxsim.interop.memory import later_value
from ctxsim.interop.reading import FlagReading, FlagUse
from ctxsim.interop.settings import PASTED, Settings
from ctxsim.spec.document import read_document
from ctxsim.spec.hardware import Hardware, load_hardware
from ctxsim.spec.scenario import Scenario, resolve_scenario
from ctxsim.spec.written import as_file

MODEL_FLAGS = ("--model", "--model-path")
ASSUMPTIONS = Path(__file__).parent / "assumed.yaml"
WEIGHTS = "serving.weight_dtype"
ASSUMED = "assumed, since the command does not say it"


@dataclass(frozen=True)
class Imported:
    """A scenario, and what became of every word of the command.

    ``origins``: by field of the scenario, the words that set it. ``unread``: words that are no flags of the engine.
    """

    command: str
    engine: str
    version: str
    scenario: Scenario
    uses: tuple[FlagUse, ...]
    origins: Mapping[str, str]
    unread: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Machine:
    """The hardware, by the words that name it; ``kept``: whether it is that of the base."""

    name: str
    host: str | None
    origin: str
    hardware: Hardware
    kept: bool


def import_command(
    text: str, *, version: str | None = None, model: str | None = None, hardware: str | None = None,
    base: Scenario | None = None,
) -> Imported:  # fmt: skip
    """The scenario of the command line: engine and deployment from its flags, the rest from ``base`` or defaults.

    version: of the engine's table, the newest by default. model: in place of the checkpoint's. hardware: in place of
    the base's. base: gives workload, SLO and run; on its own hardware also fidelity and prices. Raises SpecError with
    every fault of the flags, or else of the scenario that they make, by the flags' names.
    """
    text = without_secrets(text)
    command = read_command(text)
    table = flag_table(command.engine, version)
    machine = _machine(hardware, base)
    alone, given = read_arguments(command.arguments, table)
    checkpoint, words = _checkpoint(alone, given, table)
    flags = [one for one in given if normalized(one.spelled) not in MODEL_FLAGS]
    reading = FlagReading(table, machine.hardware, flags)
    settings = reading.settings()
    name = shipped_model(checkpoint) if model is None else model
    settings.set("model", name, f"--model {model}" if model else f"model {checkpoint}")
    weights = weight_format(checkpoint, name)
    if weights is not None and not reading.decided(WEIGHTS):
        settings.set(WEIGHTS, *weights)
    settings.set("hardware", machine.name, machine.origin)
    settings.set("host", machine.host, machine.origin)
    scenario, origins = _resolved(reading, settings, _others(base, machine.kept, command.engine))
    unread = (*command.environment, *command.around, *words)
    warnings = (*_warnings(reading.uses, table, unread), *scenario.warnings)
    return Imported(
        text, table.engine, table.version, scenario, tuple(reading.uses), origins, unread, warnings
    )  # fmt: skip


def assumptions() -> Mapping[str, object]:
    """Hardware and workload where nothing says them."""
    return read_document(ASSUMPTIONS).data


def _machine(hardware: str | None, base: Scenario | None) -> _Machine:
    if hardware is not None:
        return _Machine(hardware, None, f"--hardware {hardware}", load_hardware(hardware), False)
    if base is not None:
        names = base.names
        return _Machine(names.hardware, names.host, f"hardware of {base.name}", base.hardware, True)
    assumed = str(assumptions()["hardware"])
    return _Machine(assumed, None, ASSUMED, load_hardware(assumed), False)


def _checkpoint(alone: Sequence[str], given: Sequence[Given], table: FlagTable) -> tuple[str, Sequence[str]]:
    """The model that is served, and the other words that stand for themselves."""
    named = [one.value for one in given if normalized(one.spelled) in MODEL_FLAGS]
    if named and named[-1] is not None:
        return named[-1], alone
    if alone:
        return alone[0], alone[1:]
    message = (
        f"expected the model that is served, found none; write it after the command, or as {table.model_flag} NAME"
    )
    raise SpecError(Fault(PASTED, None, None, "model", message))


def _others(base: Scenario | None, kept: bool, engine: str) -> dict[str, object]:
    """What of the scenario is not the engine's."""
    if base is None:
        return {"name": f"imported-{engine}", "workload": assumptions()["workload"]}
    written = as_file(base)
    parts = ["workload", "slo", "run", *(("fidelity", "calibration", "price") if kept else ())]
    return {"name": f"{base.name}-{engine}"} | {part: written[part] for part in parts if part in written}


def _resolved(
    reading: FlagReading, settings: Settings, others: Mapping[str, object]
) -> tuple[Scenario, Mapping[str, str]]:
    """The scenario, made again for every flag whose field follows only from it."""
    scenario = resolve_scenario(settings.document(others))
    for later in reading.later:
        assert later.flag.later is not None
        settings.set(*later_value(later.flag.later, later.amount, scenario), later.origin)
        scenario = resolve_scenario(settings.document(others))
    return scenario, settings.origins


def _warnings(uses: Sequence[FlagUse], table: FlagTable, unread: Sequence[str]) -> Iterator[str]:
    for use in uses:
        words = use.flag if use.value is None else f"{use.flag} {use.value}"
        if use.status == "not_modelled":
            yield f"{words}: not modelled: {use.note}"
        elif use.status == "unknown":
            yield f"{words}: not in the table of {table.shown}" + (f"; {use.note}" if use.note else "")
    if unread:
        yield f"not read, since they are no flags of the engine: {' '.join(unread)}"
