"""How far KV bytes explain a quantity: times with KV that weighs nothing, and then without query-key pairs either.

Concurrency and switching are bytes of KV alone (and of states of constant size): with KV that weighs nothing they are
below every target. Prefill and decode are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ctxsim.analysis.causes import Counted, CountedTimes
from ctxsim.analysis.session import TypicalSession
from ctxsim.analysis.session_cost import NEITHER, WITHOUT_KV
from ctxsim.cost import CostModel
from ctxsim.spec.scenario import Scenario

TIMED = ("prefill_s", "decode_answer_s")


@dataclass(frozen=True)
class Limit:
    """Prefill of the document in one pass and decode of an answer, in seconds, with costs left out one after another.

    prefill_flop: of the document, with everything.
    """

    without_kv: Mapping[str, float]
    without_pairs: Mapping[str, float]
    prefill_flop: float


def limit_of(scenario: Scenario, session: TypicalSession) -> Limit:
    """What stays of the session's prefill and decode, each operation at its roofline."""
    cost = CostModel(scenario)
    flop = float(cost.flop(cost.batch(session.document_tokens, 0)))
    return Limit(_left(cost, session, WITHOUT_KV), _left(cost, session, NEITHER), flop)


def _left(cost: CostModel, session: TypicalSession, counted: Counted) -> dict[str, float]:
    times, tokens = CountedTimes(cost, counted), session.document_tokens
    step_s = times.alone_s(1, tokens - 1, 1)
    return dict(zip(TIMED, (times.alone_s(tokens, 0, tokens), session.answer_tokens * step_s), strict=True))
