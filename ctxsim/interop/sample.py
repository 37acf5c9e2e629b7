"""The requests of a simulation as clients of a server see them: all of them, no warm-up left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ctxsim.errors import Fault, SpecError
from ctxsim.interop.simulated import Simulated
from ctxsim.interop.token_times import TokenGaps, token_gaps
from ctxsim.records import Table
from ctxsim.spec.workload import ClosedArrival, GammaArrival, Requests, Sessions


@dataclass(frozen=True)
class Sample:
    """``requests``: the finished ones in order of arrival; ``gaps``: between their tokens."""

    requests: Table
    gaps: TokenGaps

    @classmethod
    def of(cls, simulated: Simulated) -> Sample:
        """The sample; raises SpecError where no request was finished."""
        table = simulated.requests.table()
        if not len(table):
            message = (
                "expected at least one finished request, found none; see what ctxsim simulate says of the scenario"
            )
            raise SpecError(Fault(simulated.scenario.path, None, None, "", message))
        order = np.lexsort((table["request"], table["arrival_s"]))
        requests = Table({name: table[name][order] for name in table.names})
        return cls(requests, token_gaps(requests, simulated.runs))

    @property
    def ttft_s(self) -> np.ndarray:
        """Of every request."""
        return self.requests["ttft_s"]

    @property
    def tpot_s(self) -> np.ndarray:
        """Of requests with two tokens or more."""
        tpot_s = self.requests["tpot_s"]
        several: np.ndarray = tpot_s[~np.isnan(tpot_s)]
        return several

    @property
    def e2e_s(self) -> np.ndarray:
        """Of every request."""
        return self.requests["e2e_s"]

    @cached_property
    def itl_s(self) -> np.ndarray:
        """Every pause between two tokens of a request."""
        return np.concatenate(self.gaps.gaps_s)

    @property
    def input_tokens(self) -> int:
        """Prompt tokens of all."""
        return int(np.sum(self.requests["prompt_tokens"]))

    @property
    def output_tokens(self) -> int:
        """Output tokens of all."""
        return int(np.sum(self.requests["output_tokens"]))

    def most_at_once(self) -> int:
        """The most requests under way at a time, from arrival to end; one that ends makes way for one that arrives."""
        times_s = np.concatenate((self.requests["arrival_s"], self.requests["finished_s"]))
        steps = np.repeat([1, -1], len(self.requests))
        return int(np.max(np.cumsum(steps[np.lexsort((steps, times_s))])))

    def most_tokens_per_s(self) -> float:
        """The most tokens in one of the seconds since the first arrival."""
        first_s = self.requests["first_token_s"]
        times_s = [
            first + np.cumsum(np.concatenate(([0.0], gaps_s)))
            for first, gaps_s, tokens in zip(first_s, self.gaps.gaps_s, self.requests["output_tokens"], strict=True)
            if tokens
        ]
        if not times_s:
            return 0.0
        seconds = (np.concatenate(times_s) - self.requests["arrival_s"][0]).astype(np.int64)
        return float(np.max(np.bincount(seconds)))


def request_rate_per_s(simulated: Simulated) -> float | None:
    """The rate at which requests came, whatever became of them; None where they wait for each other, and of traces."""
    workload = simulated.scenario.workload
    if isinstance(workload, Requests) and not isinstance(workload.arrival, ClosedArrival):
        return workload.arrival.rate
    return None


def burstiness(simulated: Simulated) -> float | None:
    """The shape of the gaps between arrivals, 1 for Poisson ones; None where they are no draws of a gamma."""
    workload = simulated.scenario.workload
    if not isinstance(workload, Requests):
        return None
    if isinstance(workload.arrival, GammaArrival):
        return workload.arrival.burstiness
    return 1.0 if workload.arrival.kind == "poisson" else None


def users(simulated: Simulated) -> int | None:
    """How many users ask, each after the last answer; None where arrivals do not wait for answers."""
    workload = simulated.scenario.workload
    if isinstance(workload, Sessions):
        return workload.users
    if isinstance(workload, Requests) and isinstance(workload.arrival, ClosedArrival):
        return workload.arrival.users
    return None
