"""One stack of techniques on a scenario: the four quantities, and the dollars of a session; or why it is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctxsim.analysis.quantities import four_quantities
from ctxsim.analysis.session import TypicalSession
from ctxsim.analysis.session_cost import session_usd
from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.explore.frontier.scales import EFFORTS, RISKS, Part, effort_of, risk_of
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario

QUANTITIES = ("concurrent_sessions", "prefill_s", "decode_answer_s", "switch_s")
"""The four, under their names in ``analyze``; of the first more is better, of the others less."""

NAMES: Mapping[str, str] = {
    "concurrent_sessions": "concurrency", "prefill_s": "prefill", "decode_answer_s": "decode", "switch_s": "switching",
}  # fmt: skip
"""What people call them."""


@dataclass(frozen=True)
class Measured:
    """What a stack comes to. usd_per_session: of a full fleet (see analysis.account); accelerators: of a replica."""

    values: Mapping[str, float]
    usd_per_session: float
    accelerators: int


@dataclass(frozen=True)
class Trial:
    """A stack as one writes it, on a document, at a session's context. Runs in any process."""

    document: Document
    session: TypicalSession
    stack: tuple[str, ...]

    def run(self) -> Measured | str:
        """What the stack comes to, or why it is refused: only what a scenario's own checks say counts as that."""
        try:
            scenario = self.scenario
        except SpecError as error:
            return "; ".join(fault.message for fault in error.faults)
        cost = CostModel(scenario)
        found = four_quantities(cost, self.session.document_tokens, self.session.answer_tokens)
        values = {name: float(getattr(found, name)) for name in QUANTITIES}
        return Measured(values, session_usd([cost], self.session), scenario.deployment.ranks)

    @property
    def scenario(self) -> Scenario:
        """The document with the stack; raises SpecError where both do not go together."""
        return resolve_scenario(apply_overrides(self.document, {"techniques": list(self.stack)}))


@dataclass(frozen=True)
class Tried:
    """A stack that can be applied, with what it comes to, and the training and risk that it takes."""

    parts: tuple[Part, ...]
    measured: Measured
    effort: int
    risk: int

    @classmethod
    def of(cls, parts: Sequence[Part], measured: Measured) -> Tried:
        """Judged by its parts."""
        return cls(tuple(parts), measured, effort_of(parts), risk_of(parts))

    @property
    def fits(self) -> bool:
        """Whether one session fits at least: dollars of what does not are those of a pool as large as it."""
        return self.measured.values["concurrent_sessions"] >= 1

    @property
    def stack(self) -> str:
        """Its techniques, as one would write them."""
        return "+".join(part.written for part in self.parts) or "none"

    @property
    def usd(self) -> float:
        """Dollars of a session."""
        return self.measured.usd_per_session

    def missing(self, quantity: str, target: Tried) -> float:
        """How many times worse than the target it is in a quantity; 1 or less is at least as good."""
        mine, wanted = self.measured.values[quantity], target.measured.values[quantity]
        worse, better = (wanted, mine) if quantity == "concurrent_sessions" else (mine, wanted)
        return worse / better if better else float("inf")

    def beats(self, other: Tried) -> bool:
        """Whether it is better in one of the four quantities or in dollars."""
        return self.usd < other.usd or any(self.missing(quantity, other) < 1 for quantity in QUANTITIES)

    @property
    def order(self) -> tuple[int, int, int, int, float, int, str]:
        """From the cheapest: training, then risk, then dollars; among equals the fewest techniques.

        Of equal training that of the fewest techniques, of equal risk the least sum (techniques/README.md).
        """
        trained = sum(part.effort > 0 for part in self.parts)
        risks = sum(part.risk for part in self.parts)
        return self.effort, trained, self.risk, risks, self.usd, len(self.parts), self.stack

    @property
    def row(self) -> dict[str, str | float | bool]:
        """As a row of a tidy table."""
        return {
            "techniques": self.stack, "effort": EFFORTS[self.effort], "risk": RISKS[self.risk], "fits": self.fits,
            "cost_usd_per_session": self.usd, **self.measured.values,
        }  # fmt: skip
