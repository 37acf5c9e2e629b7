"""Where the working set outgrows HBM, and HBM with what lies below it: in closed form, and found by simulation.

Past the cliff is a simulation in which more than a twentieth of the tokens that had been computed once before were
computed again (LOST_RATIO): before it next to none are, past it soon most. Every replication has a cliff of its own:
the sweep says between which two points, bisection narrows that down. All points of one replication have the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

from ctxsim.analysis import fleet_working_set
from ctxsim.errors import InfeasibleError
from ctxsim.explore.cliff.axes import Over, Raised, raised
from ctxsim.explore.executors import Executor, answers, local
from ctxsim.explore.load import is_drawn
from ctxsim.explore.outcomes import CONFIDENCE, Row, Trial
from ctxsim.metrics import student_t_quantile
from ctxsim.sim.replications import replication_seeds, reseeded
from ctxsim.spec.scenario import Scenario

LOST_RATIO = 0.05
NARROW_RATIO = 0.01
"""Bisection ends where a bracket is narrower than this share of its upper end, or than one of what is counted."""

BELOW_HBM = (0.5, 0.9)
AROUND_ROOM = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
"""What is swept: shares of where the working set is as large as HBM, and as all room for it."""

SHOWN = ("sessions_per_hour", "ttft_mean_s", "ttft_p95_s", "cost_usd_per_session")

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class CliffPoint:
    """Means of all replications at one load. lost_ratio: of tokens computed once before, what was computed again."""

    load: float
    hbm_ratio: float
    room_ratio: float
    region: str
    lost_ratio: float
    sessions_per_hour: float
    ttft_mean_s: float | None
    ttft_p95_s: float | None
    cost_usd_per_session: float | None


@dataclass(frozen=True)
class Bracket:
    """One replication's cliff: the largest load looked at that is not past it, and the smallest that is."""

    seed: int
    before: float
    past: float


@dataclass(frozen=True)
class Located:
    """The cliff over all replications: the mean of the brackets' middles, and its interval.

    low, high: 95 % interval of the mean where there are several replications, widened by the brackets' half-widths;
    of one replication its bracket.
    """

    load: float
    low: float
    high: float
    brackets: tuple[Bracket, ...]


@dataclass(frozen=True)
class Cliff:
    """name: what was raised. hbm_full, room_full: where, in closed form, the working set is as large as HBM, and as all
    room for it; None beyond the longest context that is served. located: None where no cliff was found, as reason says.
    runs: replications of every point; 1 where nothing is drawn. own: the scenario's own load.
    """

    name: str
    own: float
    own_region: str
    hbm_full: float | None
    room_full: float | None
    points: tuple[CliffPoint, ...]
    runs: int
    located: Located | None
    reason: str | None


def cliff(
    scenario: Scenario, *, over: Over = "load", replications: int = 5, executor: Executor | None = None,
    tell: Tell | None = None,
) -> Cliff:  # fmt: skip
    """The working-set map of a scenario: its regions, and its cliff.

    tell: is told how many simulations are done, and of how many that are known to be needed. Raises SpecError where
    nothing is kept between turns, InfeasibleError where nothing fits.
    """
    axis = raised(scenario, over)
    runs = replications if is_drawn(scenario) else 1
    seeds = replication_seeds(scenario.run.seed, runs)
    asked = _Asked(axis, executor or local(1), tell or (lambda done, of: None))
    hbm_full, room_full = (_full(axis, name) for name in ("hbm_ratio", "room_ratio"))
    loads = _loads(axis, hbm_full, room_full)
    rows = asked.rows([(load, seed) for load in loads for seed in seeds])
    by_load = [rows[i * runs : (i + 1) * runs] for i in range(len(loads))]
    served = [(load, found) for load, found in zip(loads, by_load, strict=True) if None not in found]
    if not served:
        raise InfeasibleError(f"no {axis.name} of {', '.join(f'{load:g}' for load in loads)} can be served")
    brackets = [_bracket(seed, [(load, found[i]) for load, found in served]) for i, seed in enumerate(seeds)]
    reason = next((found for found in brackets if isinstance(found, str)), None)
    narrow = [asked.narrowed(found) for found in brackets if isinstance(found, Bracket)] if reason is None else []
    region = fleet_working_set(scenario)
    assert region is not None
    return Cliff(
        axis.name, axis.own, region.region, hbm_full, room_full,
        tuple(_point(axis, load, [row for row in found if row is not None]) for load, found in served),
        runs, _located(narrow) if narrow else None, reason,
    )  # fmt: skip


class _Asked:
    """Simulations of loads, each with a seed; what was asked once is remembered."""

    def __init__(self, axis: Raised, executor: Executor, tell: Tell) -> None:
        self._axis, self._executor, self._tell = axis, executor, tell
        self._known: dict[tuple[float, int], Row | None] = {}

    def rows(self, points: Sequence[tuple[float, int]]) -> list[Row | None]:
        """The numbers of each point; None where it cannot be served."""
        missing = [point for point in dict.fromkeys(points) if point not in self._known]
        trials = [Trial(reseeded(self._axis.at(load), seed)) for load, seed in missing]
        self._tell(len(self._known), len(self._known) + len(missing))
        for point, outcome in zip(missing, answers(trials, self._executor), strict=True):
            self._known[point] = outcome.row if outcome.status == "ok" else None
        self._tell(len(self._known), len(self._known))
        return [self._known[point] for point in points]

    def narrowed(self, bracket: Bracket) -> Bracket:
        """The bracket, halved until it is narrow."""
        low, high = bracket.before, bracket.past
        least = 1.0 if self._axis.whole else 0.0
        while high - low > max(least, NARROW_RATIO * high):
            middle = self._axis.rounded((low + high) / 2)
            (row,) = self.rows([(middle, bracket.seed)])
            low, high = (low, middle) if row is None or _lost(row) > LOST_RATIO else (middle, high)
        return Bracket(bracket.seed, low, high)


def _lost(row: Row) -> float:
    """Of the tokens that had been computed once before, the share that was found nowhere."""
    return max(0.0, 1.0 - fsum(row[f"kv_hit_{tier}_ratio"] for tier in ("hbm", "host", "disk")))


def _bracket(seed: int, rows: Sequence[tuple[float, Row | None]]) -> Bracket | str:
    """The last load before the first that is past the cliff, and that one; or why there are none."""
    before: float | None = None
    for load, row in rows:
        if row is not None and _lost(row) > LOST_RATIO:
            if before is None:
                return (
                    f"{_lost(row):.0%} of what had been computed before is computed again at {load:g} already: what "
                    "loses it is not the load (a router that moves sessions, or a policy that drops them)"
                )
            return Bracket(seed, before, load)
        before = load
    return f"nothing is lost up to {rows[-1][0]:g}: where KV has no room, turns wait for it"


def _located(brackets: Sequence[Bracket]) -> Located:
    n = len(brackets)
    middles = [(bracket.before + bracket.past) / 2 for bracket in brackets]
    mean = fsum(middles) / n
    if n == 1:
        return Located(mean, brackets[0].before, brackets[0].past, tuple(brackets))
    deviation = sqrt(fsum((middle - mean) ** 2 for middle in middles) / (n - 1))
    width = fsum((bracket.past - bracket.before) / 2 for bracket in brackets) / n
    half = student_t_quantile(CONFIDENCE, n - 1) * deviation / sqrt(n) + width
    return Located(mean, mean - half, mean + half, tuple(brackets))


def _full(axis: Raised, name: str) -> float | None:
    """Where that ratio of the working set comes to 1; None beyond the most that can be served.

    A load is proportional to its working set; for contexts it is looked for.
    """

    def ratio(value: float) -> float:
        wanted = fleet_working_set(axis.at(value))
        return float("inf") if wanted is None else float(getattr(wanted, name))

    if axis.most is None:
        return axis.own / ratio(axis.own)
    low, high = 0, round(axis.most)
    if ratio(high) <= 1:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ratio(middle) <= 1 else (low, middle)
    return float(low) if low else None


def _loads(axis: Raised, hbm_full: float | None, room_full: float | None) -> list[float]:
    """What is swept, ascending; the scenario's own among them."""
    most = axis.most if axis.most is not None else axis.own
    top = room_full or most
    wanted = {axis.own, *(ratio * top for ratio in AROUND_ROOM)}
    if hbm_full is not None:
        wanted |= {ratio * hbm_full for ratio in BELOW_HBM}
    return sorted({axis.rounded(value) for value in wanted})


def _point(axis: Raised, load: float, rows: Sequence[Row]) -> CliffPoint:
    wanted = fleet_working_set(axis.at(load))
    assert wanted is not None
    shown: dict[str, Any] = {name: _mean([row.get(name) for row in rows]) for name in SHOWN}
    lost = fsum(map(_lost, rows)) / len(rows)
    return CliffPoint(load, wanted.hbm_ratio, wanted.room_ratio, wanted.region, lost, **shown)


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fsum(found) / len(found) if len(found) == len(values) else None
