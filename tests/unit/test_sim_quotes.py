"""What a policy may ask of one replica: residual think times, waits at links, who asks already and who never will."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log
from typing import Any, cast

import numpy as np
import pytest
import simpy
from support.cases import engine, stub_cost
from support.laws import ConstantLaw

from ctxsim.cost import CostModel
from ctxsim.cost.topology import HBM, HOST, Fabric
from ctxsim.sim.links import Copy, Links
from ctxsim.sim.quotes import NextUses, ReplicaQuotes, remaining_s
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.workload import ConstantTime, ExponentialTime, LognormalTime, ThinkTime

SESSIONS = load_scenario("yi-34b-50k-a100").workload
LINK_BYTES_PER_S = 10.0
POOL_BYTES = 1000.0
USD_PER_S = 2.0
EXPONENTIAL = ExponentialTime(kind="exponential", mean="20 s")
LOGNORMAL = LognormalTime(kind="lognormal", mean="60 s", p95="180 s")


def machine(think: ThinkTime | None = None) -> Scenario:
    """One replica of 2 USD/s on a link of 10 bytes/s, for users who think so or requests of nobody known."""
    limits = engine()
    hardware = replace(limits.hardware, host_link_bytes_per_s=LINK_BYTES_PER_S, host_memory_bytes_per_s=1e6)
    price = replace(limits.price, accelerator_usd_per_s=USD_PER_S)
    workload: Any = limits.workload if think is None else SESSIONS.model_copy(update={"think_time": think})
    return replace(limits, hardware=hardware, price=price, workload=workload)


class Bench:
    """The quotes of a replica at a time that can be set, its links, and its users' next turns."""

    def __init__(self, think: ThinkTime | None = None) -> None:
        scenario = machine(think)
        cost = cast(CostModel, stub_cost(law=ConstantLaw(1.0), capacity_bytes=POOL_BYTES))
        self.env = simpy.Environment()
        self.links = Links(self.env, Fabric.of(scenario), lambda replica, at_s: None)
        self.next_uses = NextUses()
        self.at_s = 0.0
        self.quotes = ReplicaQuotes(scenario, cost, self.links, 0, lambda: self.at_s, self.next_uses)

    def order(self, source: int, target: int, moved_bytes: float) -> None:
        self.links.order(Copy(0, source, target, moved_bytes, 1, 0.0, lambda copy: None), self.at_s)


# Think times


def integrated_s(think: LognormalTime, idle_s: float) -> float:
    """E[X | X > t] - t by summing the density over the logarithm, far into the tail."""
    mu = log(think.mean) - think.sigma**2 / 2
    y = np.linspace(log(idle_s), max(log(idle_s), mu) + 14 * think.sigma, 400_001)
    density = np.exp(-((y - mu) ** 2) / (2 * think.sigma**2) + (y[0] - mu) ** 2 / (2 * think.sigma**2))
    return float(np.trapezoid(np.exp(y) * density, y) / np.trapezoid(density, y) - idle_s)


@pytest.mark.parametrize(("idle_s", "left_s"), [(0.0, 60.0), (45.0, 15.0), (60.0, 0.0), (61.0, 0.0)])
def test_a_constant_think_time_runs_out(idle_s: float, left_s: float) -> None:
    assert remaining_s(ConstantTime(value="60 s"), idle_s) == left_s


@pytest.mark.parametrize("idle_s", [0.0, 20.0, 1e6])
def test_an_exponential_think_time_forgets(idle_s: float) -> None:
    assert remaining_s(EXPONENTIAL, idle_s) == 20.0


def test_a_lognormal_think_time_is_its_mean_at_first() -> None:
    assert remaining_s(LOGNORMAL, 0.0) == pytest.approx(60.0, rel=1e-12)
    assert remaining_s(LOGNORMAL, 1e-6) == pytest.approx(60.0, rel=1e-6)


@pytest.mark.parametrize("p95", ["90 s", "180 s"])
@pytest.mark.parametrize("idle_s", [0.5, 10.0, 60.0, 180.0, 300.0])
def test_a_lognormal_think_time_leaves_the_mean_of_its_tail(idle_s: float, p95: str) -> None:
    think = LognormalTime(kind="lognormal", mean="60 s", p95=p95)
    assert remaining_s(think, idle_s) == pytest.approx(integrated_s(think, idle_s), rel=1e-4)


def idle_at_s(z: float) -> float:
    """The idle time whose logarithm is so many standard deviations above its mean."""
    return exp(log(LOGNORMAL.mean) - LOGNORMAL.sigma**2 / 2 + z * LOGNORMAL.sigma)


@pytest.mark.parametrize("z", [7.1, 12.0, 30.0])
def test_a_lognormal_think_time_leaves_the_mean_of_its_tail_far_out(z: float) -> None:
    idle_s = idle_at_s(z)
    assert remaining_s(LOGNORMAL, idle_s) == pytest.approx(integrated_s(LOGNORMAL, idle_s), rel=1e-3)


def test_a_lognormal_think_time_beyond_any_float_is_near_its_asymptote() -> None:
    """Where the tail is too small to divide by: t sigma / z, of a series in sigma / z whose next term adds as much."""
    z, sigma = 40.0, LOGNORMAL.sigma
    idle_s = idle_at_s(z)
    found, expected = remaining_s(LOGNORMAL, idle_s), integrated_s(LOGNORMAL, idle_s)
    assert expected * (1 - 2 * sigma / z) < found < expected


def test_users_are_expected_as_their_think_times_say_and_who_asks_already_at_once() -> None:
    bench = Bench(EXPONENTIAL)
    bench.next_uses.asking.add(7)
    assert bench.quotes.expected_idle_s(7, 5.0) == 0.0
    assert bench.quotes.expected_idle_s(8, 5.0) == 20.0
    bench.next_uses.asking.discard(7)
    assert bench.quotes.expected_idle_s(7, 5.0) == 20.0


@pytest.mark.parametrize("idle_s", [0.0, 3.0, 500.0])
def test_sessions_whose_think_times_are_not_drawn_stay_away_as_long_again(idle_s: float) -> None:
    """What a Pareto law of exponent 2 leaves: the mean beyond t is 2 t."""
    assert Bench().quotes.expected_idle_s(0, idle_s) == idle_s


def test_the_next_use_is_known_once_it_is_decided_and_else_never_comes() -> None:
    bench = Bench(EXPONENTIAL)
    bench.next_uses.at_s[3] = 12.5
    assert bench.quotes.next_use_s(3) == 12.5
    assert bench.quotes.next_use_s(4) == inf


# Copies


def test_a_copy_costs_the_hbm_that_it_occupies() -> None:
    """50 bytes at 10 bytes/s hold a twentieth of the pool for 5 s: 2 USD/s x 5 s / 20."""
    quotes = Bench().quotes
    assert quotes.copy_usd(HBM, HOST, 50.0, 50) == pytest.approx(0.5, rel=1e-12)
    assert quotes.copy_usd(HOST, HBM, 50.0, 50) == pytest.approx(0.5, rel=1e-12)


def test_a_copy_waits_for_those_before_it_in_its_own_direction() -> None:
    """Ordered at 1 s after one of 100 bytes (10 s): 9 s more to wait at 4 s than at 13 s, for 5 s of its own."""
    bench = Bench()
    bench.at_s = 1.0
    bench.order(HBM, HOST, 100.0)
    bench.at_s = 4.0
    assert bench.quotes.copy_usd(HBM, HOST, 50.0, 50) == pytest.approx(USD_PER_S * (7 + 5) / 20, rel=1e-12)
    assert bench.quotes.copy_usd(HOST, HBM, 50.0, 50) == pytest.approx(USD_PER_S * 5 / 20, rel=1e-12)
    bench.order(HBM, HOST, 30.0)
    assert bench.quotes.copy_usd(HBM, HOST, 50.0, 50) == pytest.approx(USD_PER_S * (7 + 3 + 5) / 20, rel=1e-12)


def test_quotes_tell_the_time_of_the_replica() -> None:
    bench = Bench()
    bench.at_s = 42.0
    assert bench.quotes.now_s() == 42.0


def test_the_reference_of_these_tests_is_right() -> None:
    """Far below all think times, what is left is the mean."""
    assert integrated_s(LOGNORMAL, 1e-9) == pytest.approx(60.0, rel=1e-4)
