"""What is raised until KV no longer fits: the load (users, or arrivals a second), or the length of documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ctxsim.analysis import fleet_working_set
from ctxsim.analysis.session import typical_session
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.explore.factors import factors_of
from ctxsim.explore.load import is_closed, load_of, with_load
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions

Over = Literal["load", "context"]


@dataclass(frozen=True)
class Raised:
    """A number of a scenario that its working set grows with. own: as it is; at: the scenario with another.

    whole: only whole numbers make sense. most: the largest that can be served; None where nothing limits it.
    """

    name: str
    own: float
    at: Callable[[float], Scenario]
    whole: bool
    most: float | None

    def rounded(self, value: float) -> float:
        """The nearest value that makes sense."""
        limited = value if self.most is None else min(value, self.most)
        return max(1, round(limited)) if self.whole else limited


def raised(scenario: Scenario, over: Over) -> Raised:
    """That number; raises SpecError where the scenario keeps nothing between turns, InfeasibleError where none fits."""
    if fleet_working_set(scenario) is None:
        _refuse(scenario)
    if over == "load":
        closed = is_closed(scenario)
        name = "users" if closed else "arrivals_per_s"
        return Raised(name, load_of(scenario), lambda value: with_load(scenario, value), closed, None)
    documents = factors_of(scenario)["document_tokens"]
    own = documents.size(scenario)
    session = typical_session(scenario)
    turns = session.rounds * (session.question_tokens + session.answer_tokens)
    most = scenario.max_model_len - turns
    return Raised("document_tokens", own, lambda value: documents.scaled(scenario, value / own), True, most)


def _refuse(scenario: Scenario) -> None:
    workload = scenario.workload
    if not isinstance(workload, Sessions) or workload.rounds == 1:
        wanted = "expected sessions of two rounds or more, found nobody who comes back"
        raise SpecError(Fault(scenario.path, None, None, "workload", f"{wanted}; use kind: sessions"))
    if not scenario.serving.enable_prefix_caching:
        wanted = "expected true, found false: nothing is kept between turns"
        raise SpecError(Fault(scenario.path, None, None, "serving.enable_prefix_caching", wanted))
    raise InfeasibleError("there is no room for KV in HBM; use more accelerators (deployment.tensor_parallel)")
