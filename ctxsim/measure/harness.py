"""Measuring: the plan's points one after the other until the budget is spent, every row saved as it comes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ctxsim.errors import Fault, MissingExtraError, SpecError, nearest, shorten
from ctxsim.measure.left_out import LeftOut
from ctxsim.measure.plan import DTYPES, plan
from ctxsim.measure.points import FAMILIES, Family
from ctxsim.measure.rows import RowsFile

if TYPE_CHECKING:
    import pandas as pd


class Progress(Protocol):
    """Is told how far it is."""

    def __call__(self, spent_s: float, rows: int, point: str) -> None:
        """So many seconds are spent and so many rows measured; that point comes next."""


def measure(
    device: str = "cuda",
    budget_s: float = 300.0,
    families: Sequence[str] = FAMILIES,
    progress: Progress | None = None,
    path: Path | None = None,
    command: str = "",
    dtypes: Sequence[str] | None = None,
    keep_disturbed: bool = False,
    models: Sequence[str] = (),
) -> pd.DataFrame:
    """The rows that the budget buys, saved at ``path`` as they come; what is left out is said on stderr, with why.

    device: "cuda" or "cpu". budget_s: the time to spend, loading torch aside. command: what the file says made it.
    dtypes: only these number formats; None for those of the device. keep_disturbed: of a CPU
    that others use too, points are taken as they come; else such a point is tried again, and left out in the end.
    models: matrices and heads of these come before all others.
    Raises SpecError for a budget of nothing, an unknown family, device or model, MissingExtraError without torch.
    """
    chosen = _families(families)
    if not budget_s > 0:
        raise _refused("budget", f"expected some time, found {budget_s:g} s; give at least a minute")
    _check_dtypes(dtypes, DTYPES.get(device, ()))
    if find_spec("torch") is None:
        raise MissingExtraError("measure", "measure")
    from ctxsim.measure.devices import device_of
    from ctxsim.measure.run import Run

    found = device_of(device)
    planned = plan(replace(found.subject, models=tuple(models)), budget_s, chosen, dtypes)
    meta = found.meta() | {"command": command, "budget_s": budget_s, "families": list(chosen)}
    meta |= {"keep_disturbed": keep_disturbed, "models": list(models)}
    left_out = LeftOut(lambda line: print(line, file=sys.stderr))
    left_out.by_plan(planned)
    with RowsFile(path, meta) as file:
        run = Run(planned.costs, found, file, left_out, keep_disturbed)
        for point in planned.points:
            if not run.reaches(point):
                left_out.unreached(point)
                continue
            if progress is not None:
                progress(run.spent_s, len(file.rows), str(point))
            run.take(point)
    left_out.say_counts()
    return file.frame()


def _families(names: Sequence[str]) -> tuple[Family, ...]:
    """The families of those names, in our order; none, or an unknown one, is a fault."""
    known = [family for family in FAMILIES if family in names]
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not known:
        found = f'"{shorten(unknown[0])}"{nearest(unknown[0], FAMILIES)}' if unknown else "none"
        raise _refused("families", f"expected some of {', '.join(FAMILIES)}, found {found}")
    return tuple(known)


def _check_dtypes(names: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raises SpecError for a number format that is not measured on that kind of device (an unknown kind has none)."""
    for name in names or ():
        if known and name not in known:
            found = f'found "{shorten(name)}"{nearest(name, known)}'
            raise _refused("dtypes", f"expected some of {', '.join(known)}, {found}")


def _refused(field: str, message: str) -> SpecError:
    return SpecError(Fault("", None, None, field, message))
