"""The same scenario under another load, or with another number of replicas."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ClosedArrival, Requests, Sessions


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
