"""What the gaps of a session cost in a simulation, and a whole session: in whole cycles, and how well they are known.

In a cycle as many sessions end as there are users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.gaps import GapPrices
from ctxsim.cost.topology import HBM, HOST
from ctxsim.metrics.occupancy import RUN_NAMES, TRANSFER_NAMES, bin_means, occupancy, of_replica
from ctxsim.metrics.utilisation import run_s
from ctxsim.sim import Simulation
from ctxsim.units import SECONDS_PER_HOUR

Array = np.ndarray


@dataclass(frozen=True)
class Found:
    """What one policy's simulation gave, a session each.

    cycles: that were counted. gaps_usd: what its gaps cost; of it hold_hbm_usd, hold_host_usd and recompute_usd (see
    sim.ledger). queued_usd: what KV cost when its user was back and waited to be served, which is no part of gaps_usd.
    session_usd: the accelerators at the rate at which sessions were completed, and host memory at all times.
    gaps_error_usd, session_error_usd: standard errors from cycle to cycle, None of one. waited_s: how much longer than
    its user thought KV idled in the mean, until the turn was admitted. iteration_s: how long iterations last, in the
    mean over time: who has come, and what has been copied, is noticed when they end.
    """

    users: int
    cycles: int
    gaps_usd: float
    gaps_error_usd: float | None
    hold_hbm_usd: float
    hold_host_usd: float
    recompute_usd: float
    queued_usd: float
    session_usd: float
    session_error_usd: float | None
    sessions_per_hour: float
    waited_s: float
    iteration_s: float

    def known_to(self, ratio: float) -> bool:
        """Whether the standard errors of both costs are no larger; of one cycle there is none."""
        errors = ((self.gaps_error_usd, self.gaps_usd), (self.session_error_usd, self.session_usd))
        return all(error is None or error <= ratio * usd for error, usd in errors)


@dataclass(frozen=True)
class _Cycles:
    """USD of all gaps, a number a cycle. gaps: of how many sessions; paid_host_usd: of host memory, queues included."""

    gaps: Array
    hbm_usd: Array
    host_usd: Array
    again_usd: Array
    queued_usd: Array
    paid_host_usd: Array

    @property
    def gaps_usd(self) -> Array:
        """All that gaps cost."""
        total: Array = self.hbm_usd + self.host_usd + self.again_usd
        return total

    def each(self, usd: Array) -> float:
        """So much of all cycles, a session."""
        return float(np.sum(usd) / np.sum(self.gaps))


def found_in(simulation: Simulation, users: int, cycles: int) -> Found:
    """What a session cost in so many cycles after the first."""
    edges_s = np.sort(simulation.sessions["end_s"])[users - 1 :: users][: cycles + 1]
    cycle = np.searchsorted(edges_s, simulation.requests["admitted_s"], side="right") - 1
    counted = np.flatnonzero((cycle >= 0) & (cycle < cycles) & (simulation.requests["turn"] > 0))
    paid = _paid(simulation, edges_s, counted, cycle[counted])
    session_s = np.diff(edges_s) / users
    bill_usd = replica_usd_per_s(simulation.scenario) * session_s + paid.paid_host_usd / paid.gaps
    return Found(
        users=users,
        cycles=cycles,
        gaps_usd=paid.each(paid.gaps_usd),
        gaps_error_usd=_error(paid.gaps_usd / paid.gaps),
        hold_hbm_usd=paid.each(paid.hbm_usd),
        hold_host_usd=paid.each(paid.host_usd),
        recompute_usd=paid.each(paid.again_usd),
        queued_usd=paid.each(paid.queued_usd),
        session_usd=float(np.mean(bill_usd)),
        session_error_usd=_error(bill_usd),
        sessions_per_hour=SECONDS_PER_HOUR / float(np.mean(session_s)),
        waited_s=float(np.mean(simulation.requests["queue_s"][counted])),
        iteration_s=_iteration_s(simulation),
    )


def _paid(simulation: Simulation, edges_s: Array, gaps: Array, cycle: Array) -> _Cycles:
    """What was paid in each cycle. gaps: the turns after the gaps that count; cycle: in which each was admitted."""
    prices = GapPrices(simulation.scenario, CostModel(simulation.scenario))

    def by_cycle(usd: Array) -> Array:
        return np.bincount(cycle, usd, minlength=len(edges_s) - 1)

    paid_hbm, paid_host = _held_usd(simulation, prices, edges_s)
    queued_hbm, queued_host = (by_cycle(usd) for usd in _queued_usd(simulation, prices, gaps))
    return _Cycles(
        gaps=by_cycle(np.ones(len(cycle))) / (typical_session(simulation.scenario).rounds - 1),
        hbm_usd=paid_hbm - queued_hbm,
        host_usd=paid_host - queued_host,
        again_usd=by_cycle(_again_usd(simulation, prices, gaps)),
        queued_usd=queued_hbm + queued_host,
        paid_host_usd=paid_host,
    )


def _held_usd(simulation: Simulation, prices: GapPrices, edges_s: Array) -> tuple[Array, Array]:
    """What idle KV in HBM, on its way included, and KV in host memory cost between each two of these times."""
    capacity_bytes = CostModel(simulation.scenario).memory.kv_capacity_bytes
    runs, copies = of_replica(simulation.runs, 0, RUN_NAMES), of_replica(simulation.transfers, 0, TRANSFER_NAMES)
    held = occupancy(runs, copies, capacity_bytes)

    def usd(tier: int, held_bytes: Array) -> Array:
        byte_s: Array = bin_means(edges_s, held.start_s, held.end_s, held_bytes, held_bytes) * np.diff(edges_s)
        return prices.hold_usd(tier, 1.0, 1.0) * byte_s

    return usd(HBM, held.idle_bytes + held.arriving_bytes), usd(HOST, held.host_bytes)


def _queued_usd(simulation: Simulation, prices: GapPrices, gaps: Array) -> tuple[Array, Array]:
    """What KV in HBM, and in host memory, cost from when the turns after these gaps came until they were served."""
    requests, layout = simulation.requests, CostModel(simulation.scenario).layout
    names = ("hbm_hit_tokens", "host_hit_tokens", "queue_s")
    turns = list(zip(*(requests[name][gaps].tolist() for name in names), strict=True))
    hbm_usd = [prices.hold_usd(HBM, layout.extent_bytes(0, in_hbm), wait_s) for in_hbm, _, wait_s in turns]
    host_usd = [
        prices.hold_usd(HOST, layout.extent_bytes(in_hbm, in_hbm + in_host), wait_s)
        for in_hbm, in_host, wait_s in turns
    ]
    return np.array(hbm_usd), np.array(host_usd)


def _again_usd(simulation: Simulation, prices: GapPrices, gaps: Array) -> Array:
    """What it cost to compute again what each of the turns after these gaps did not find."""
    requests = simulation.requests
    found = sum(requests[f"{tier}_hit_tokens"][gaps] for tier in ("hbm", "host", "disk"))
    names = ("reusable_tokens", "prompt_tokens")
    turns = zip(found.tolist(), *(requests[name][gaps].tolist() for name in names), strict=True)
    return np.array([prices.recompute_usd(had, known - had, prompt - known) for had, known, prompt in turns])


def _iteration_s(simulation: Simulation) -> float:
    """The mean over the time in which something is computed: sum of n x i^2 / sum of n x i, of n iterations of i."""
    runs = of_replica(simulation.runs, 0, ("iterations", "first_s", "growth_s"))
    each_s = run_s(runs) / runs["iterations"]
    return float(np.sum(runs["iterations"] * each_s**2) / np.sum(run_s(runs)))


def _error(values: Array) -> float | None:
    """The standard error of their mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
