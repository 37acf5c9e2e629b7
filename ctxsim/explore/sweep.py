"""Many points around one scenario, each answered once; whatever was answered before is not worked out again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.executors import Executor, Numbered, local
from ctxsim.explore.outcomes import By, Outcome, Row, Trial
from ctxsim.explore.store import Store, write_rows
from ctxsim.explore.vary import Setting, settings_text
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario

POINTS = "points.parquet"
CHUNK = {"simulate": 1, "analyze": 64}
"""Trials that go to a worker at once: a simulation is long enough to go alone."""

MOST_LISTED = 8

Progress = Callable[[int, int], None]
"""Is told how many points are answered, and of how many."""


@dataclass(frozen=True)
class Sweep:
    """points: a setting each. rows: point, the setting's keys, status, reason, scenario_sha256 and the numbers of each
    point, in order; points that are not answered yet have the status ``waiting``. known: points that were there
    before. folder: where rows lie as ``points.parquet``."""

    points: Sequence[Setting]
    rows: Sequence[Row]
    known: int
    folder: Path | None

    @property
    def complete(self) -> bool:
        """Whether every point is answered."""
        return all(row["status"] != WAITING for row in self.rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Which points lie past their cliff (see cost.working_set)."""
        past = [str(row["point"]) for row in self.rows if row.get("working_set_past_cliff")]
        listed = ", ".join(past[:MOST_LISTED]) + (", ..." if len(past) > MOST_LISTED else "")
        what = f"{len(past)} of {len(self.rows)} points lie past the cliff (working_set_past_cliff), points {listed}"
        return (f"{what}: their numbers are those of a fleet that thrashes",) if past else ()


WAITING = "waiting"


class InterruptedSweepError(Exception):
    """The user stopped the sweep; what was answered is kept in ``sweep``."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__("interrupted")
        self.sweep = sweep


def sweep(
    document: Document, points: Sequence[Setting], *, by: By = "simulate", replications: int = 1,
    executor: Executor | None = None, folder: Path | None = None, progress: Progress | None = None,
) -> Sweep:  # fmt: skip
    """Every point answered: the document's scenario with the point's setting over it.

    All points see the same draws: their seeds are the scenario's. Equal scenarios are answered once. Raises
    InterruptedSweepError where the user stops it; what was answered until then is on disk.
    """
    store = Store(folder)
    resolved = [_resolved(document, point) for point in points]
    trials = {
        number: Trial(found, by, replications) for number, found in enumerate(resolved) if isinstance(found, Scenario)
    }
    keys = {number: trial.key for number, trial in trials.items()}
    outcomes = {key: found for key in dict.fromkeys(keys.values()) if (found := store.find(key)) is not None}
    known = sum(key in outcomes for key in keys.values())
    tell = progress or (lambda done, of: None)

    def assembled() -> Sweep:
        rows = [
            _row(number, cells, resolved[number], outcomes.get(keys.get(number, "")))
            for number, cells in enumerate(_cells(points))
        ]
        if folder is not None:
            write_rows(rows, folder / POINTS, {"by": by, "replications": replications})
        return Sweep(points, rows, known, folder)

    points_of = Counter(keys.values())
    missing = _first_of_each(keys, outcomes)
    done = len(points) - sum(points_of[keys[number]] for number in missing)
    tell(done, len(points))
    try:
        for number, outcome in (executor or local(1))(_chunks([(n, trials[n]) for n in missing], CHUNK[by])):
            outcomes[keys[number]] = outcome
            store.put(keys[number], outcome)
            done += points_of[keys[number]]
            tell(done, len(points))
    except KeyboardInterrupt:
        raise InterruptedSweepError(assembled()) from None
    return assembled()


def _resolved(document: Document, point: Setting) -> Scenario | SpecError:
    try:
        return resolve_scenario(apply_overrides(document, dict(point)))
    except SpecError as error:
        return error


def _first_of_each(keys: Mapping[int, str], outcomes: Mapping[str, Outcome]) -> list[int]:
    """The first point of each key that has no outcome yet."""
    first: dict[str, int] = {}
    for number, key in keys.items():
        if key not in outcomes:
            first.setdefault(key, number)
    return list(first.values())


def _chunks(trials: Sequence[Numbered], size: int) -> list[Sequence[Numbered]]:
    return [trials[i : i + size] for i in range(0, len(trials), size)]


def _row(number: int, point: Setting, found: Scenario | SpecError, outcome: Outcome | None) -> Row:
    about: dict[str, Any] = {"point": number, **dict(point)}
    if isinstance(found, SpecError):
        reason = "; ".join(f"{fault.field}: {fault.message}" for fault in found.faults)
        return about | {"status": "refused", "reason": reason, "scenario_sha256": None}
    if outcome is None:
        outcome = Outcome(WAITING, None, {})
    return about | {
        "status": outcome.status, "reason": outcome.reason, "scenario_sha256": found.sha256, **outcome.row,
    }  # fmt: skip


def _cells(points: Sequence[Setting]) -> list[Setting]:
    """The points as columns of a table can hold them: a key's values all numbers, all flags, or all text."""
    kinds: dict[str, set[type]] = {}
    for point in points:
        for key, value in point:
            kinds.setdefault(key, set()).add(float if type(value) is int else type(value))
    plain = {key for key, found in kinds.items() if found in ({float}, {bool}, {str})}
    return [tuple((key, value if key in plain else _text(value)) for key, value in point) for point in points]


def _text(value: object) -> str:
    """The value as one would write it in a file."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def scenarios_of(document: Document, changes: Iterable[Setting]) -> list[Scenario]:
    """The document's scenario with each setting over it; raises SpecError with the faults of all of them."""
    faults: list[Fault] = []
    scenarios = []
    for change in changes:
        try:
            scenarios.append(resolve_scenario(apply_overrides(document, dict(change))))
        except SpecError as error:
            place = settings_text(change)
            faults += [replace(fault, path=fault.path or place) for fault in error.faults]
    if faults:
        raise SpecError(*faults)
    return scenarios
