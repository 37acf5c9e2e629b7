"""From a scenario to an engine's command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from ctxsim.interop.flags import Engine, Flag, FlagTable, flag_table
from ctxsim.interop.importing import import_command
from ctxsim.interop.memory import pool_tokens, static_fraction, static_share
from ctxsim.interop.values import write_value
from ctxsim.spec.scenario import Scenario

STARTS: dict[Engine, str] = {"vllm": "vllm serve", "sglang": "python -m sglang.launch_server"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that the command does not give the scenario's value; ``found``: what it has instead."""

    field: str
    wanted: object
    found: object
    why: str


@dataclass(frozen=True)
class Exported:
    """A command line, and what of the scenario it does not say."""

    engine: Engine
    version: str
    hardware: str
    command: str
    cannot: tuple[Difference, ...]

    def text(self) -> str:
        """The command as it is pasted into a shell, the rest as comments."""
        lines = [f"# {self.engine} {self.version} on {self.hardware}; what is not written is the default there"]
        if self.cannot:
            lines.append("# Otherwise than in the scenario:")
        for one in self.cannot:
            lines.append(f"#   {one.field}: {_shown(one.wanted)} there, {_shown(one.found)} here: {one.why}")
        return "\n".join([*lines, self.command])


def export_command(
    scenario: Scenario, engine: Engine, *, version: str | None = None, checkpoint: str | None = None,
    all_flags: bool = False,
) -> Exported:  # fmt: skip
    """The command line that serves as the scenario does, as nearly as the engine can.

    checkpoint: what to load, the model's own name by default. all_flags: also those at the engine's defaults. What
    differs is found by importing the command again, so it is all that differs.
    """
    table = flag_table(engine, version)
    words = [word for flag in table.flags for word in _words(flag, table, scenario, all_flags)]
    model = checkpoint or scenario.names.model
    named = [model] if engine == "vllm" else [table.model_flag, model]
    command = " ".join([STARTS[engine], *map(shlex.quote, (*named, *words))])
    found = import_command(command, version=table.version, model=scenario.names.model, base=scenario.fleet[0])
    cannot = tuple(_differences(scenario, found.scenario, table))
    return Exported(engine, table.version, scenario.hardware.name, command, cannot)


def _words(flag: Flag, table: FlagTable, scenario: Scenario, all_flags: bool) -> Iterator[str]:
    """The flag and its value; nothing where the engine does the same without it."""
    wanted = _wanted(flag, scenario)
    if wanted is None or any(_field(scenario, name) in kept for name, kept in flag.emit_unless.items()):
        return
    typed = write_value(flag, wanted, scenario.deployment)
    if typed is None or (not all_flags and typed == _default(flag, scenario)):
        return
    if flag.kind != "switch":
        yield from (flag.name, typed)
    elif typed == "true":
        yield flag.name
    elif table.switches_negate:
        yield f"--no-{flag.name.removeprefix('--')}"


def _wanted(flag: Flag, scenario: Scenario) -> object:
    """What the scenario has of what the flag says; None where it has nothing, or the flag says nothing."""
    if flag.default_from is not None:
        return static_share(scenario)
    if flag.later == "kv_tokens":
        return pool_tokens(scenario)
    return None if flag.field is None else _field(scenario, flag.field)


def _default(flag: Flag, scenario: Scenario) -> str | None:
    """The engine's default as it would be typed."""
    if flag.default_from is not None:
        ranks, serving = scenario.deployment.tensor_parallel, scenario.serving
        return repr(static_fraction(scenario.hardware, ranks, serving.max_num_batched_tokens))
    value = flag.default_value(scenario.hardware)
    if flag.at_most is not None and isinstance(value, int):
        most = _field(scenario, flag.at_most)
        assert isinstance(most, int)
        value = min(value, most)
    return None if value is None else str(value)


def _field(scenario: Scenario, name: str) -> object:
    part, _, key = name.partition(".")
    return getattr(getattr(scenario, part), key)


def _differences(scenario: Scenario, found: Scenario, table: FlagTable) -> Iterator[Difference]:
    wanted, there = _said(scenario), _said(found)
    for name, value in wanted.items():
        if value != there[name]:
            yield Difference(name, value, there[name], table.cannot.get(name, "no flag gives it"))
    if scenario.others:
        yield Difference("deployment.groups", len(scenario.others), 0, table.cannot["deployment.groups"])
    if scenario.techniques:
        yield Difference("techniques", scenario.techniques, (), "no flag changes the model")


def _said(scenario: Scenario) -> dict[str, object]:
    """Deployment and serving by dotted field, quantities as text; what changes nothing at its default.

    One replica gets every request, whichever router deals them; without room in host memory there is no tier there,
    and to swap is to drop and compute again.
    """
    serving = {} if scenario.serving.host_kv_capacity else {"host_tier": "exclusive"}
    if not scenario.serving.host_kv_capacity and scenario.serving.residency == "swap":
        serving["residency"] = "recompute"
    router = {"router": "round_robin"} if scenario.deployment.replicas == 1 else {}
    parts = {"deployment": scenario.deployment.model_dump(mode="json") | router}
    parts["serving"] = scenario.serving.model_dump(mode="json") | serving
    return {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
