"""The commands in their order, and the one place where an outcome becomes output and an exit code.

Exit codes: 0 ok, 1 fault of ours, 2 bad input, 3 valid but infeasible, 4 SLO gate failed, 5 missing extra,
130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ctxsim import __version__
from ctxsim.cli import commands, documents, explaining, exploring, interop, mapping, measuring, planning, roads
from ctxsim.cli.answer import Answer, deliver, deliver_error
from ctxsim.errors import CtxsimError, InfeasibleError

OK, OUR_FAULT, INTERRUPTED = 0, 1, 130

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line: its name moved between versions, its place above BadParameter did not."""

DEBUG = "--debug"

EPILOG = (
    "Exit codes: 0 ok, 1 fault of ctxsim, 2 bad input, 3 valid but infeasible, 4 SLO gate failed, "
    "5 missing extra, 130 interrupted."
)


def _new(help_text: str, epilog: str | None = None) -> typer.Typer:
    """A group of commands; plain help, so that it comes up at once and reads the same in a pipe."""
    return typer.Typer(
        help=help_text,
        epilog=epilog,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = _new("What serving a long-context language model takes: in closed form, and simulated.", EPILOG)
hardware = _new("Accelerators and hosts: every number with its source.")
model = _new("Models: parameters, layers, and what a context holds in memory.")
technique = _new("Techniques that make long contexts cheaper: what each does, takes and risks.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of a fault (may stand anywhere).")] = False,
) -> None:
    """Options before the command."""


app.add_typer(hardware, name="hardware")
app.add_typer(model, name="model")
app.add_typer(technique, name="technique")
hardware.command("list")(commands.hardware_list)
hardware.command("show")(commands.hardware_show)
model.command("list")(commands.model_list)
model.command("show")(commands.model_show)
technique.command("list")(commands.technique_list)
technique.command("show")(commands.technique_show)
app.command("analyze")(commands.analyze)
app.command("simulate")(commands.simulate)
app.command("whatif")(exploring.whatif)
app.command("sweep")(exploring.sweep)
app.command("plan")(planning.plan)
app.command("sensitivity")(planning.sensitivity)
app.command("explain")(explaining.explain)
app.command("curve")(explaining.curve)
app.command("residency")(mapping.residency)
app.command("cliff")(mapping.cliff)
app.command("frontier")(roads.frontier)
app.command("paper")(documents.paper)
app.command("report")(documents.report)
app.command("measure")(measuring.measure)
app.command("calibrate")(measuring.calibrate)
app.command("validate")(measuring.validate)
app.command("import")(interop.import_)
app.command("export")(interop.export)
app.command("schema")(commands.schema)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command line (that of the process by default) and ends with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns the exit code. Nothing but the answer goes to stdout, and no traceback."""
    as_json = "--json" in arguments
    try:
        return _run(arguments)
    except USAGE_ERROR as error:
        return _usage(error, as_json)
    except CtxsimError as error:
        said = f"infeasible: {error}" if isinstance(error, InfeasibleError) else str(error)
        return deliver_error(said, error.exit_code, as_json, error)
    except (KeyboardInterrupt, typer.Abort):
        return deliver_error("interrupted", INTERRUPTED, as_json)
    except Exception as error:
        if DEBUG in arguments:
            traceback.print_exc()
        message = f"this is a fault of ctxsim: {type(error).__name__}: {error}; please report"
        return deliver_error(message, OUR_FAULT, as_json)


def _run(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    words = [word for word in arguments if word != DEBUG]
    outcome = command.main(words, prog_name="ctxsim", standalone_mode=False)
    if outcome == INTERRUPTED:  # typer turns a Ctrl-C into this code
        raise KeyboardInterrupt
    if isinstance(outcome, Answer):
        return deliver(outcome)
    return outcome if isinstance(outcome, int) else OK


def _usage(error: Exception, as_json: bool) -> int:
    """Says what is wrong with the command line; without any command, prints the help instead."""
    code: int = error.exit_code  # type: ignore[attr-defined]
    if as_json:
        return deliver_error(error.format_message(), code, as_json)  # type: ignore[attr-defined]
    error.show()  # type: ignore[attr-defined]
    return code
