"""Options that several commands share, and the reading of ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ctxsim.errors import Fault, SpecError, shorten

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A name in scenarios/, or a path to a scenario file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object (SI units, no NaN) instead of text.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a field, e.g. serving.kv_dtype=fp8. May be given many times."
    ),
]


def overrides_of(settings: Sequence[str] | None) -> dict[str, object]:
    """``["serving.kv_dtype=fp8"]`` as a mapping; raises SpecError for every one that is no KEY=VALUE, or is twice."""
    overrides: dict[str, object] = {}
    faults = []
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            message = f'expected KEY=VALUE, found "{shorten(setting)}"; write e.g. --set serving.kv_dtype=fp8'
            faults.append(Fault("--set", None, None, "", message))
        elif key in overrides:
            faults.append(Fault(f"--set {shorten(setting)}", None, None, key, "expected each key once, found it again"))
        else:
            overrides[key] = value
    if faults:
        raise SpecError(*faults)
    return overrides
