"""Why a session costs more than the same session over a shorter context: what KV bytes explain of it, and what not.

Both sessions are the scenario's typical one at full load (see analysis.account); that over the other context has a
document, or a prompt, of that many tokens, and all else alike. Every difference is that of two sums, so all of them
sum to the whole whichever way they are read: by quantity, by item, by cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctxsim.analysis import analyze
from ctxsim.analysis.account import QUANTITY_OF, Used
from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import CAUSES, SessionCost, session_at, session_cost
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests, Trace

if TYPE_CHECKING:
    from ctxsim.explore.explain_simulated import SimulatedExtra

QUANTITIES = ("concurrency", "prefill", "decode", "switching")

DEFINITIONS = {
    "concurrency": "weights read for fewer sequences at once because HBM has room for only so many; the pool's share "
    "of KV held for users who think; KV that lies in host memory",
    "prefill": "its prompts in chunks, the KV of earlier turns kept",
    "decode": "one step a token, weights shared with max_num_seqs sequences",
    "switching": "the pool's share of KV that is copied out and in, contexts computed again, waits for the host link",
    "kv_bytes": "what disappears where KV weighs nothing: held, read, written and moved for nothing",
    "quadratic_flop": "what disappears with the query-key pairs after that (those within windows too, and what "
    "latent attention expands again in every chunk)",
    "rest": "FLOP of weights, reads of weights, collectives, overhead",
    "seconds": "of a replica; dollars: of its accelerators, and of host memory",
    "session": "the workload's typical one (mean lengths) at full load: with as many users as the fleet can serve",
}


@dataclass(frozen=True)
class Explanation:
    """A session and the same one over another context. simulated: the same from two simulations, where asked for."""

    scenario: Scenario
    base: SessionCost
    against: SessionCost
    simulated: SimulatedExtra | None = None

    @property
    def base_tokens(self) -> int:
        """The scenario's own context: of its document, or its prompt."""
        return self.base.session.document_tokens

    @property
    def against_tokens(self) -> int:
        """The other context."""
        return self.against.session.document_tokens

    @property
    def extra(self) -> Used:
        """What the session costs more than over the other context."""
        return self.base.total - self.against.total

    @property
    def extra_without_kv(self) -> Used:
        """The same in the limit of KV that weighs nothing: what stays of it."""
        return self.base.without_kv - self.against.without_kv

    def extra_by(self, quantity: str) -> Used:
        """What a quantity has of it."""
        return self.base.by_quantity(quantity) - self.against.by_quantity(quantity)

    @property
    def unit(self) -> str:
        """What shares are of: dollars, or seconds where accelerators have no price."""
        return "usd" if any(group.price.accelerator_usd_per_s for group in self.scenario.fleet) else "seconds"

    def ratio(self, part: Used) -> float | None:
        """A part's share of what the session costs more; None where that is nothing."""
        extra: float = getattr(self.extra, self.unit)
        return getattr(part, self.unit) / extra if extra else None

    def cause_ratio(self, cause: str) -> float | None:
        """The share that a cause has of it."""
        return self.ratio(self.base.by_cause(cause) - self.against.by_cause(cause))

    @property
    def kv_last_ratio(self) -> float | None:
        """What KV bytes would have of it if the pairs were left out before them."""
        return self.ratio(self.base.kv_bytes_last - self.against.kv_bytes_last)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row an item and cause, those of a quantity together: against, base, extra, in seconds and dollars."""
        return [row for quantity in QUANTITIES for row in self._rows_of(quantity)]

    def _rows_of(self, quantity: str) -> Iterator[dict[str, Any]]:
        for item in (item for item, of in QUANTITY_OF.items() if of == quantity):
            for cause in CAUSES:
                against, base = self.against.cells[item, cause], self.base.cells[item, cause]
                yield {"quantity": quantity, "item": item, "cause": cause} | {
                    f"{name}_{unit}": getattr(used, field)
                    for field, unit in (("seconds", "s"), ("usd", "usd"))
                    for name, used in (("against", against), ("base", base), ("extra", base - against))
                }

    @property
    def infeasible_reason(self) -> str | None:
        """Why one of the sessions does not fit, if so: it is priced as if the pool were as large as it."""
        return self.base.infeasible_reason or self.against.infeasible_reason

    @property
    def finding(self) -> str:
        """In a sentence, what explains the extra cost."""
        shares = [self.cause_ratio(cause) for cause in CAUSES]
        at = f"at {self.base_tokens:,} tokens"
        if None in shares:
            return f"a session costs the same {at} as at {self.against_tokens:,}"
        kv, quadratic, rest = (f"{100 * (share or 0.0):.1f} %" for share in shares)
        more = "more" if getattr(self.extra, self.unit) > 0 else "less"
        kept = self.ratio(self.extra_without_kv) or 0.0
        return (
            f"a session costs {self._words(self.extra)} {more} {at} than at {self.against_tokens:,}: {kv} of that are "
            f"KV bytes, {quadratic} quadratic FLOP, {rest} the rest; with KV that weighs nothing "
            f"{self._words(self.extra_without_kv)} ({100 * kept:.1f} %) would stay"
        )

    def _words(self, used: Used) -> str:
        amount = abs(getattr(used, self.unit))
        return f"{amount:.4g} USD" if self.unit == "usd" else f"{amount:.4g} s of a replica"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know besides."""
        return (*self.scenario.warnings, *_warnings(self))


def explain(scenario: Scenario, against_tokens: int, simulated: bool = False) -> Explanation:
    """The scenario's session against the same one over so many tokens; simulated: twice more, on the same draws.

    Raises InfeasibleError where the weights do not fit, SpecError where a trace should be simulated.
    """
    session = typical_session(scenario)
    base, against = session_cost(scenario, session), session_cost(scenario, session_at(session, against_tokens))
    if not simulated:
        return Explanation(scenario, base, against)
    # Imported here: the closed form needs no event kernel.
    from ctxsim.explore.explain_simulated import SimulatedExtra

    ratio = against_tokens / session.document_tokens
    return Explanation(scenario, base, against, SimulatedExtra.of(scenario, ratio))


def meaning(scenario: Scenario) -> str:
    """What the context of the scenario's session is."""
    if isinstance(scenario.workload, Trace):
        return "the mean prompt of the trace, found in the cache as far as an unlimited one has it"
    return "the prompt" if isinstance(scenario.workload, Requests) else "the document"


def _warnings(found: Explanation) -> Iterator[str]:
    longest, most = max(found.base_tokens, found.against_tokens), found.scenario.max_model_len
    if longest > most:
        yield f"{longest:,} tokens are more than max_model_len ({most:,}): priced as if they were served"
    if found.base_tokens < found.against_tokens:
        yield (
            f"the scenario's context ({found.base_tokens:,} tokens) is shorter than {found.against_tokens:,}: what it "
            "costs more is negative"
        )
    if found.infeasible_reason is not None:
        yield "a session that does not fit is priced as if the KV pool were as large as it, alone in its batch"
    if found.scenario.calibration is not None:
        yield "times are those of the calibration, divided by cause as they are at the peaks"


def at_own_load(scenario: Scenario) -> Mapping[str, Any]:
    """What ``analyze`` says of a session under the scenario's own load, idle accelerators included."""
    keys = analyze(scenario).keys
    return {"cost_usd_per_session": keys["cost_usd_per_session"], "bottleneck": keys["bottleneck"]}
