"""The road from a long context to the cost of a short one: which techniques bring which of the four quantities there.

The target is the same scenario without techniques over a short context. A quantity is at parity where it is at most
so much worse than there. What it costs is told apart: training, risk for retrieval, dollars of a session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.session import TypicalSession, typical_session
from ctxsim.analysis.session_cost import session_at
from ctxsim.cost import CostModel
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.explore.cost_curve import of_one_kind
from ctxsim.explore.executors import Executor
from ctxsim.explore.frontier.limits import Limit, limit_of
from ctxsim.explore.frontier.scales import EFFORTS, RISKS, Part, part_of
from ctxsim.explore.frontier.search import Progress, Search, Setup, quiet, search
from ctxsim.explore.frontier.trial import NAMES, QUANTITIES, Measured, Trial, Tried
from ctxsim.spec.catalog import names
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario

DEFINITIONS = {
    "parity": "at most (1 + within_ratio) times worse than at the target's context, without techniques, on one replica",
    "missing_ratio": "times worse than the target; of concurrency target / value, of times value / target",
    "effort": f"of training: {' < '.join(EFFORTS)}; that of a stack is its greatest",
    "risk": f"for what must be found in a long context: {' < '.join(RISKS)}; that of a stack is its greatest, and "
    "untested at least where two techniques that lose something were not tested together, or not with such parameters",
    "cheapest": "least training (then the fewest techniques that need any), then least risk (then the least sum of "
    "the parts' places), then least dollars",
    "cost_usd_per_session": "of the typical session at full load, as in explain and curve",
    "prefill": "beside stacks of so many techniques, those of any number that each make prefill better alone",
    "fits": "whether one session fits on the replica; only such stacks are answers, as long as there are any",
}


@dataclass(frozen=True)
class Reach:
    """One quantity: the stack that comes nearest to the target, and the cheapest that reaches it, if any does."""

    quantity: str
    target: float
    own: float
    own_missing: float
    best: Tried
    missing: float
    reached_by: Tried | None


@dataclass(frozen=True)
class Level:
    """What at most so much risk and training buys: the cheapest stack in dollars, and that at parity in the most
    quantities (the cheapest of those)."""

    risk: int
    effort: int
    cheapest: Tried
    nearest: Tried


@dataclass(frozen=True)
class Frontier:
    """What was found. scenario: without techniques; session: over the long context; target: over the short one.

    within_ratio: how much worse still counts as parity. most: techniques of a stack. limit, target_limit: what KV bytes
    explain of either. bare: the scenario's document without techniques.
    """

    scenario: Scenario
    session: TypicalSession
    target_tokens: int
    within_ratio: float
    most: int
    target: Tried
    found: Search
    limit: Limit
    target_limit: Limit
    bare: Document

    @property
    def own(self) -> Tried:
        """The scenario as it is, without techniques."""
        return self.found.stacks[0]

    @cached_property
    def answers(self) -> list[Tried]:
        """The stacks that hold a session; all where none does."""
        return _fitting(self.found.stacks)

    @cached_property
    def best_prefill(self) -> Limit:
        """What KV bytes explain of the prefill that comes nearest to the target."""
        (reach,) = (reach for reach in self.reaches if reach.quantity == "prefill_s")
        stack = tuple(part.written for part in reach.best.parts)
        return limit_of(Trial(self.bare, self.session, stack).scenario, self.session)

    def at_parity(self, one: Tried) -> list[str]:
        """The quantities in which a stack is at parity."""
        return [quantity for quantity in QUANTITIES if one.missing(quantity, self.target) <= 1 + self.within_ratio]

    @cached_property
    def reaches(self) -> list[Reach]:
        """One a quantity."""
        return [self._reach(quantity) for quantity in QUANTITIES]

    def _reach(self, quantity: str) -> Reach:
        stacks = self.found.stacks
        answers = _fitting([*stacks, *self.found.larger_stacks] if quantity == "prefill_s" else stacks)
        best = min(answers, key=lambda one: (one.missing(quantity, self.target), one.order))
        there = [one for one in answers if quantity in self.at_parity(one)]
        return Reach(
            quantity, self.target.measured.values[quantity], self.own.measured.values[quantity],
            self.own.missing(quantity, self.target), best, best.missing(quantity, self.target),
            min(there, key=lambda one: one.order, default=None),
        )  # fmt: skip

    @cached_property
    def together(self) -> Tried:
        """The cheapest stack of those that are at parity in the most quantities at once."""
        return min(self.answers, key=lambda one: (-len(self.at_parity(one)), one.order))

    @cached_property
    def levels(self) -> list[Level]:
        """What every level of risk and training buys, where it buys more than a lower one; no risk first."""
        found: list[Level] = []
        for risk in range(len(RISKS)):
            for effort in range(len(EFFORTS)):
                level = self.level(risk, effort)
                below = [one for one in found if one.risk <= risk and one.effort <= effort]
                if level is not None and all(_buys(level, one) for one in below):
                    found.append(level)
        return found

    def level(self, risk: int, effort: int) -> Level | None:
        """What at most so much risk and training buys; None where no stack takes so little."""
        allowed = [one for one in self.answers if one.risk <= risk and one.effort <= effort]
        if not allowed:
            return None
        cheapest = min(allowed, key=lambda one: (one.usd, one.order))
        nearest = min(allowed, key=lambda one: (-len(self.at_parity(one)), one.usd, one.order))
        return Level(risk, effort, cheapest, nearest)

    @property
    def infeasible_reason(self) -> str | None:
        """Why no stack is an answer, if so."""
        if any(one.fits for one in self.found.stacks):
            return None
        return (
            f"no stack of techniques makes a session of {self.session.document_tokens:,} tokens fit on "
            f"{self.scenario.deployment.ranks} x {self.scenario.hardware.name}: take more of them"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know besides."""
        if self.own.fits:
            return self.scenario.warnings
        context = f"{self.session.document_tokens:,} tokens"
        words = (
            f"a session of {context} does not fit without techniques: its dollars are those of a pool as large as it"
        )
        return (*self.scenario.warnings, words)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a stack that was tried and counts."""
        return [self.row(one) for one in self.found.stacks]

    @property
    def level_rows(self) -> list[dict[str, Any]]:
        """A row a level: its risk and training, then what its two stacks come to."""
        return [
            {
                "risk_allowed": RISKS[level.risk], "effort_allowed": EFFORTS[level.effort],
                **{f"cheapest_{name}": value for name, value in self.row(level.cheapest).items()},
                **{f"nearest_{name}": value for name, value in self.row(level.nearest).items()},
            }
            for level in self.levels
        ]  # fmt: skip

    def row(self, one: Tried) -> dict[str, Any]:
        """A stack as a row: what it comes to, how much each quantity misses, how many do not."""
        missing = {f"{NAMES[quantity]}_missing_ratio": one.missing(quantity, self.target) for quantity in QUANTITIES}
        finite = {name: value if value < float("inf") else None for name, value in missing.items()}
        there = self.at_parity(one)
        return {**one.row, **finite, "quantities_at_parity": len(there)}


def _fitting(stacks: list[Tried]) -> list[Tried]:
    return [one for one in stacks if one.fits] or stacks


def _buys(level: Level, below: Level) -> bool:
    """Whether the cheapest or the nearest is another."""
    return level.cheapest is not below.cheapest or level.nearest is not below.nearest


def frontier(
    document: Document, target_tokens: int, context_tokens: int | None = None, *, within_ratio: float = 0.0,
    most: int = 4, techniques: Sequence[str] | None = None, exhaustive: bool = False, executor: Executor,
    progress: Progress = quiet,
) -> Frontier:  # fmt: skip
    """The scenario over its own context, or another, against the same over the target's.

    techniques: those that may be used; the library's and the scenario's own where none are given. most: of a stack.
    Raises SpecError where one is not known, or where there are several groups of replicas; InfeasibleError where not
    even the target fits.
    """
    if most < 1:
        message = f"expected at least 1 technique of a stack, found {most}; give techniques=[] to try none"
        raise SpecError(Fault("", None, None, "most", message))
    written = resolve_scenario(document)
    parts = [part_of(name) for name in (offered(written) if techniques is None else dict.fromkeys(techniques))]
    session = typical_session(written)
    session = session_at(session, session.document_tokens if context_tokens is None else context_tokens)
    bare = _bare(document, written, session)
    scenario = of_one_kind(resolve_scenario(bare))
    short = session_at(session, target_tokens)
    reason = infeasible_reason(CostModel(scenario), short)
    if reason is not None:
        raise InfeasibleError(f"over {target_tokens:,} tokens, without techniques, {reason}")
    measured = Trial(bare, short, ()).run()
    assert isinstance(measured, Measured), measured
    return Frontier(
        scenario, session, target_tokens, within_ratio, most, Tried.of((), measured),
        search(Setup(bare, session, short, executor, progress), parts, most, techniques is not None, exhaustive),
        limit_of(scenario, session), limit_of(scenario, short), bare,
    )  # fmt: skip


def offered(scenario: Scenario) -> list[str]:
    """The library's techniques, also with the further parameters that their files name, and the scenario's own."""
    library = [written for name in names("technique") for written in (name, *_further(part_of(name)))]
    return list(dict.fromkeys((*library, *scenario.techniques)))


def _further(part: Part) -> Iterator[str]:
    for setting in part.file.frontier:
        yield f"{part.written}({','.join(f'{name}={value}' for name, value in setting.items())})"


def _bare(document: Document, written: Scenario, session: TypicalSession) -> Document:
    """The scenario without techniques, and able to serve the context, as windows beyond what is served are none."""
    overrides: Mapping[str, object] = {"techniques": []}
    longest = session.document_tokens + session.rounds * (session.question_tokens + session.answer_tokens)
    if longest > written.max_model_len:
        overrides = {**overrides, "serving.max_model_len": longest}
    return apply_overrides(document, overrides)


def parse_within(text: str) -> float:
    """``10%`` or ``0.1`` as a ratio; raises SpecError."""
    number = text.strip()
    percent = number.endswith("%")
    try:
        value = float(number.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        message = f'expected a share of at least 0, found "{text}"; write e.g. 10%'
        raise SpecError(Fault("--within", None, None, "", message))
    return value
