"""The commands that read command lines of serving engines, and write these and results of benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.options import JsonOption, SetOption, overrides_of
from ctxsim.errors import Fault, SpecError

STDIN = "-"
VersionOption = Annotated[
    str | None, typer.Option("--engine-version", help="Of the engine's table of flags.  [default: the newest]")
]


class Target(StrEnum):
    """What is written: a command line, or results as another tool writes them."""

    vllm = "vllm"
    sglang = "sglang"
    vllm_bench = "vllm-bench"
    llm_d = "llm-d"


def import_(
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="The command line in quotes, a file that has it, or - for stdin.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the scenario there.")] = None,
    hardware: Annotated[str | None, typer.Option(metavar="NAME_OR_PATH", help="The accelerator.")] = None,
    workload_from: Annotated[
        str | None, typer.Option(metavar="SCENARIO", help="Take workload, SLO, run and hardware from that scenario.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME_OR_PATH", help="In place of what the checkpoint's name stands for.")
    ] = None,
    engine_version: VersionOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Make a scenario of a command line of vLLM or SGLang.

    Engine and deployment follow from the flags and the defaults of that version; the rest from the options, or it is
    assumed and marked so. Flags that are unknown or not modelled are listed in the file and as warnings.
    """
    from ctxsim.interop import import_command, scenario_text
    from ctxsim.spec.scenario import load_scenario

    base = None if workload_from is None else load_scenario(workload_from)
    found = import_command(_pasted(command), version=engine_version, model=model, hardware=hardware, base=base)
    text = scenario_text(found, base is not None)
    _write(out, text)
    result = {
        "engine": found.engine,
        "version": found.version,
        "file": None if out is None else str(out),
        "flags": [asdict(use) for use in found.uses],
        "unread": list(found.unread),
        "scenario": text,
    }
    return _answer("import", result, text, out, as_json, found.scenario.sha256, found.warnings)


def export(
    source: Annotated[str, typer.Argument(metavar="SCENARIO_OR_DIR", help="A scenario, or a folder with results.")],
    to: Annotated[Target, typer.Option("--to", help="An engine's command line, or the form of results.")],
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there.")] = None,
    all_flags: Annotated[
        bool, typer.Option("--all", help="Command lines: also flags at the engine's defaults.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Command lines: what to load.  [default: the model's name]")
    ] = None,
    engine_version: VersionOption = None,
    detailed: Annotated[bool, typer.Option("--detailed", help="vllm-bench: a list with every request.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Write a scenario as a command line, or a simulation's results as other tools write theirs.

    What of a scenario the engine cannot do stands above the command, as comments. Results are those in the folder, or
    of the scenario simulated now; they are marked as simulated.
    """
    commands = {"--all": all_flags, "--checkpoint": checkpoint, "--engine-version": engine_version}
    if to in (Target.vllm, Target.sglang):
        _refuse_unused(to, {"--detailed": detailed})
        return _export_command(
            source, to, overrides_of(settings), out, (all_flags, checkpoint, engine_version), as_json
        )
    _refuse_unused(to, commands | {"--detailed": detailed and to is Target.llm_d})
    return _export_results(source, to, overrides_of(settings), out, detailed, as_json)


def _export_command(
    source: str, to: Target, overrides: dict[str, object], out: Path | None,
    how: tuple[bool, str | None, str | None], as_json: bool,
) -> Answer:  # fmt: skip
    from ctxsim.api.storage import SCENARIO
    from ctxsim.interop import export_command
    from ctxsim.spec.scenario import load_scenario

    all_flags, checkpoint, version = how
    scenario = load_scenario(Path(source) / SCENARIO if Path(source).is_dir() else source, overrides)
    found = export_command(
        scenario, "vllm" if to is Target.vllm else "sglang", version=version, checkpoint=checkpoint, all_flags=all_flags
    )
    text = f"{found.text()}\n"
    _write(out, text)
    result = {
        "to": to.value,
        "version": found.version,
        "file": None if out is None else str(out),
        "command": found.command,
        "cannot": [asdict(one) for one in found.cannot],
    }
    return _answer("export", result, text, out, as_json, scenario.sha256, scenario.warnings)


def _export_results(
    source: str, to: Target, overrides: dict[str, object], out: Path | None, detailed: bool, as_json: bool
) -> Answer:
    from ctxsim.api.jsonable import dumps
    from ctxsim.interop.llm_d import llm_d_report
    from ctxsim.interop.vllm_bench import vllm_bench_result

    simulated, warnings = _simulated(source, overrides)
    written = vllm_bench_result(simulated, detailed) if to is Target.vllm_bench else llm_d_report(simulated)
    text = dumps(written)
    _write(out, text)
    result = {"to": to.value, "file": None if out is None else str(out), "written": written}
    return _answer("export", result, text, out, as_json, simulated.scenario.sha256, warnings)


def _simulated(source: str, overrides: dict[str, object]) -> tuple[Any, Iterable[str]]:
    """The results in the folder, or of the scenario simulated now, with their warnings."""
    from ctxsim.api.calls import simulate
    from ctxsim.api.storage import SCENARIO, load_result
    from ctxsim.interop.simulated import Simulated
    from ctxsim.spec.scenario import load_scenario

    if Path(source).is_dir():
        if overrides:
            raise SpecError(
                Fault("--set", None, None, "", "expected a scenario beside it, found results; leave it out")
            )
        scenario, result = load_scenario(Path(source) / SCENARIO), load_result(source)
    else:
        scenario = load_scenario(source, overrides)
        result = simulate(scenario)
    if not result.tables:
        message = "expected the results of one simulation, found the means of replications; name one of their folders"
        raise SpecError(Fault(source, None, None, "", message))
    tables = (result.tables[name] for name in ("requests", "sessions", "runs"))
    return Simulated(scenario, result.summary, *tables), result.warnings


def _pasted(command: str) -> str:
    """The text itself, of the file of that name, or of stdin."""
    if command == STDIN:
        return sys.stdin.read()
    try:
        return Path(command).read_text(encoding="utf-8") if Path(command).is_file() else command
    except (OSError, UnicodeDecodeError):  # a command line too long for a name of a file, or a file that is no text
        return command


def _write(out: Path | None, text: str) -> None:
    if out is None:
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"expected a file that can be written, found one that cannot ({error.strerror}); name another one"
        raise SpecError(Fault(str(out), None, None, "", message)) from None


def _refuse_unused(to: Target, options: Mapping[str, object]) -> None:
    """Raises SpecError for options that say nothing about what is written."""
    message = f"expected another --to beside it, found {to.value}; leave it out"
    if faults := [Fault(name, None, None, "", message) for name, value in options.items() if value]:
        raise SpecError(*faults)


def _answer(
    verb: str, result: dict[str, Any], text: str, out: Path | None, as_json: bool, sha256: str, warnings: Iterable[str]
) -> Answer:
    shown = text.rstrip() if out is None else f"wrote {out}"
    return Answer(verb, result, lambda: [shown], as_json, scenario_sha256=sha256, warnings=tuple(warnings))
