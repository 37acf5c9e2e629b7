"""What a session costs and why: its account over the whole fleet, divided by item and cause.

Causes are told apart by leaving costs out in a stated order, so that they sum exactly whatever overlaps:

    kv_bytes         = all costs - those without KV bytes (held, read, written and moved for nothing)
    quadratic_flop   = costs without KV bytes - those also without query-key pairs
    rest             = what is left: FLOP of the layers' weights, reads of weights, collectives, overhead

``without_kv`` is the session in the limit of KV that weighs nothing. Where a kernel computes and reads at once, what is
left out first gets less: ``kv_bytes_last`` is what KV bytes would get after the pairs were left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ctxsim.analysis.account import QUANTITY_OF, Account, Used, account
from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.causes import ALL, Counted
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel
from ctxsim.errors import InfeasibleError
from ctxsim.spec.scenario import Scenario

CAUSES = ("kv_bytes", "quadratic_flop", "rest")

WITHOUT_KV = Counted(kv_bytes=False)
WITHOUT_PAIRS = Counted(quadratic=False)
NEITHER = Counted(kv_bytes=False, quadratic=False)

Cell = tuple[str, str]
"""An item and a cause."""


@dataclass(frozen=True)
class SessionCost:
    """What a session uses, by item and cause. session: which. infeasible_reason: why it does not fit, if so.

    kv_bytes_last: what KV bytes would cause if the pairs were left out before them.
    """

    session: TypicalSession
    cells: Mapping[Cell, Used]
    kv_bytes_last: Used
    infeasible_reason: str | None

    @cached_property
    def total(self) -> Used:
        """All of it."""
        return total_of(self.cells.values())

    @property
    def without_kv(self) -> Used:
        """In the limit of KV that weighs nothing."""
        return total_of(used for (_, cause), used in self.cells.items() if cause != "kv_bytes")

    def by_cause(self, cause: str) -> Used:
        """What a cause makes of it."""
        return total_of(used for (_, why), used in self.cells.items() if why == cause)

    def by_quantity(self, quantity: str) -> Used:
        """What one of the four quantities makes of it."""
        return total_of(used for (item, _), used in self.cells.items() if QUANTITY_OF[item] == quantity)


def total_of(amounts: Iterable[Used]) -> Used:
    """The sum."""
    return sum(amounts, Used())


def session_at(session: TypicalSession, document_tokens: int) -> TypicalSession:
    """The same session over a document (or prompt) of another length; what a cache has of it keeps its share."""
    found = session.found_tokens * document_tokens // max(1, session.document_tokens)
    return replace(session, document_tokens=document_tokens, found_tokens=found)


def session_cost(scenario: Scenario, session: TypicalSession) -> SessionCost:
    """What the session costs on a fleet that has as many users as it can serve.

    Groups of replicas serve as many sessions as they can: the mean over sessions. Raises InfeasibleError where the
    weights do not fit.
    """
    costs = [CostModel(group) for group in scenario.fleet]
    reasons = [infeasible_reason(cost, session) for cost in costs]
    for cost, reason in zip(costs, reasons, strict=True):
        if reason is not None and not cost.memory.weights_fit:
            raise InfeasibleError(reason)
    parts = [_accounts(cost, session) for cost in costs]
    shares = _shares(costs, parts)
    cells: dict[Cell, Used] = {}
    last = Used()
    for share, (everything, without_kv, without_pairs, neither) in zip(shares, parts, strict=True):
        for item in QUANTITY_OF:
            why = (everything[item] - without_kv[item], without_kv[item] - neither[item], neither[item])
            for cause, used in zip(CAUSES, why, strict=True):
                cells[item, cause] = cells.get((item, cause), Used()) + used.times(share)
        last += (total_of(without_pairs.values()) - total_of(neither.values())).times(share)
    return SessionCost(session, cells, last, next(filter(None, reasons), None))


def session_usd(costs: Sequence[CostModel], session: TypicalSession) -> float:
    """The dollars of ``session_cost`` alone, in a third of its time. costs: one of each group of a fleet."""
    parts = [[account(cost, session)] for cost in costs]
    return sum(share * total_of(one[0].values()).usd for share, one in zip(_shares(costs, parts), parts, strict=True))


def _accounts(cost: CostModel, session: TypicalSession) -> list[Account]:
    """With everything, without KV bytes, without pairs, and without either."""
    return [account(cost, session, counted) for counted in (ALL, WITHOUT_KV, WITHOUT_PAIRS, NEITHER)]


def _shares(costs: Sequence[CostModel], parts: Sequence[Sequence[Account]]) -> list[float]:
    """The share of all sessions that each group serves: as fast as its replicas can."""
    rates = [
        cost.scenario.deployment.replicas / total_of(one[0].values()).seconds
        for cost, one in zip(costs, parts, strict=True)
    ]
    return [rate / sum(rates) for rate in rates]
