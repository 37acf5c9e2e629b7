"""The same scenario under another load, or with another number of replicas."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import (
    ClosedArrival,
    ConstantArrival,
    ConstantTime,
    GammaArrival,
    PoissonArrival,
    Requests,
    Sessions,
    Trace,
)


def load_of(scenario: Scenario) -> float:
    """Users of a closed loop, else arrivals a second; raises SpecError where the load is recorded."""
    workload = scenario.workload
    if isinstance(workload, Sessions):
        if workload.users is not None:
            return workload.users
        assert workload.arrival is not None
        return workload.arrival.rate
    if isinstance(workload, Requests):
        arrival = workload.arrival
        return arrival.users if isinstance(arrival, ClosedArrival) else arrival.rate
    message = "expected a load that can be changed, found a recorded trace; use kind: sessions or kind: requests"
    raise SpecError(Fault(scenario.path, None, None, "workload", message))


def is_closed(scenario: Scenario) -> bool:
    """Whether the load is a number of users, not a rate."""
    workload = scenario.workload
    if isinstance(workload, Sessions):
        return workload.users is not None
    return isinstance(workload, Requests) and isinstance(workload.arrival, ClosedArrival)


def with_load(scenario: Scenario, load: float) -> Scenario:
    """The scenario with so many users, or so many arrivals a second."""
    workload = scenario.workload
    closed = is_closed(scenario)
    amount = {"users": round(load)} if closed else {"rate": load}
    if isinstance(workload, Sessions) and closed:
        return replace(scenario, workload=workload.model_copy(update=amount))
    assert isinstance(workload, Sessions | Requests)
    assert workload.arrival is not None
    arrival = workload.arrival.model_copy(update=amount)
    return replace(scenario, workload=workload.model_copy(update={"arrival": arrival}))


def with_replicas(scenario: Scenario, replicas: int) -> Scenario:
    """The scenario with so many replicas."""
    deployment = scenario.deployment.model_copy(update={"replicas": replicas})
    return replace(scenario, deployment=deployment)


def ends_after(scenario: Scenario) -> tuple[float, float]:
    """Sessions (or single requests) and seconds after which no more arrive; infinite where there is no such end."""
    workload = scenario.workload
    number = workload.num_requests if isinstance(workload, Requests | Trace) else workload.num_sessions
    horizon_s = scenario.run.horizon
    return inf if number is None else number, inf if horizon_s is None else horizon_s


def gap_variation(scenario: Scenario) -> float:
    """The deviation of the gaps between arrivals, as a share of their mean; 0 where they are not drawn."""
    workload = scenario.workload
    arrival = None if isinstance(workload, Trace) else workload.arrival
    if isinstance(arrival, GammaArrival):
        return 1 / sqrt(arrival.burstiness)
    return 1.0 if isinstance(arrival, PoissonArrival) else 0.0


def has_constant_lengths(scenario: Scenario) -> bool:
    """Whether every prompt and every answer is as long as the others of its turn."""
    workload = scenario.workload
    if isinstance(workload, Trace):
        return False
    if isinstance(workload, Requests):
        lengths = [workload.prompt_tokens, workload.output_tokens]
    else:
        lengths = [workload.document_tokens, workload.question_tokens, workload.answer_tokens]
    return all(isinstance(length, ConstantLength) for length in lengths)


def is_drawn(scenario: Scenario) -> bool:
    """Whether anything in the workload follows from the seed."""
    workload = scenario.workload
    if isinstance(workload, Trace):
        return False
    steady = workload.arrival is None or isinstance(workload.arrival, ConstantArrival | ClosedArrival)
    thinks = isinstance(workload, Sessions) and not isinstance(workload.think_time, ConstantTime)
    return thinks or not steady or not has_constant_lengths(scenario)
