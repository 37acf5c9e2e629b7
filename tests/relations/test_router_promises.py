"""What each router's docstring promises, worked out again from the times and replicas of random workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import cast

import numpy as np
import pytest
from support.cases import Case, StubCost, engine, stub_cost
from support.laws import ConstantLaw, TokenLaw
from support.sources import ListSource, Talk, Turn, at

from ctxsim.cost import CostModel
from ctxsim.geometry import Span
from ctxsim.records import Records
from ctxsim.sim import Simulation, simulate
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.workload.demand import Demand

TOKEN_S = 0.01
LENGTHS, ANSWERS = (5, 20, 60, 240), (1, 80)
MEAN_TOKENS = sum(LENGTHS) / 4 + sum(ANSWERS) / 2
BLOCK = 16
SEEDS = range(8)


def routed(router: str, replicas: int = 3, seats: int = 4) -> Scenario:
    limits = engine(max_num_seqs=seats, max_num_batched_tokens=64, replicas=replicas)
    return replace(limits, deployment=limits.deployment.model_copy(update={"router": router}))


def poisson(seed: int, mean_s: float = 0.5, requests: int = 150) -> list[Demand]:
    """Requests of all lengths; by default they keep three replicas of TOKEN_S a token busy for most of the time."""
    rng = Random(seed)
    arrival_s, demands = 0.0, []
    for index in range(requests):
        arrival_s += rng.expovariate(1 / mean_s)
        demands.append(at(arrival_s, rng.choice(LENGTHS), rng.randint(*ANSWERS), index))
    return demands


def talks(seed: int) -> list[list[Talk]]:
    """Users who hold sessions of several turns over documents, with pauses of all lengths."""
    rng = Random(seed)

    def talk() -> Talk:
        first = Turn(rng.randint(20, 400), rng.randint(1, 40), rng.expovariate(1.0))
        return [first, *(Turn(rng.randint(1, 20), rng.randint(1, 40), rng.expovariate(1.0)) for _ in range(5))]

    return [[talk() for _ in range(3)] for _ in range(12)]


def in_order(router: str, **workload: object) -> list[ServedRequest]:
    """All requests of three replicas with room for all KV, as they arrived."""
    cost = stub_cost(block_size=BLOCK, law=TokenLaw(TOKEN_S))
    finished = Case(cost, routed(router), **workload).run().finished  # type: ignore[arg-type]
    return sorted(finished, key=lambda r: r.arrival_s)


def outstanding(earlier: Sequence[ServedRequest], now_s: float) -> list[int]:
    """Requests of each replica that came before and have not ended."""
    return [sum(r.replica == number and r.finished_s > now_s for r in earlier) for number in range(3)]


def prompts_waiting(earlier: Sequence[ServedRequest], now_s: float) -> list[int]:
    """Prompt tokens of each replica's requests that came before and have not begun."""
    return [sum(r.prompt_tokens for r in earlier if r.replica == n and r.admitted_s > now_s) for n in range(3)]


def kept(earlier: Sequence[ServedRequest], request: ServedRequest) -> list[int]:
    """Whole blocks of the prompt that each replica has from the session's turns there, the last token never one."""
    contexts = [
        max((r.largest_context for r in earlier if (r.session, r.replica) == (request.session, number)), default=0)
        for number in range(3)
    ]
    return [min(context, request.prompt_tokens - 1) // BLOCK * BLOCK for context in contexts]


@pytest.mark.parametrize("seed", SEEDS)
def test_round_robin_s_counts_differ_by_one_at_most_at_any_time(seed: int) -> None:
    for requests in (in_order("round_robin", demands=poisson(seed)), in_order("round_robin", talks=talks(seed))):
        counts = np.cumsum(np.eye(3)[[r.replica for r in requests]], axis=0)
        assert np.ptp(counts, axis=1).max() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_least_loaded_never_sends_where_more_is_outstanding(seed: int) -> None:
    loads = set()
    for requests in (in_order("least_loaded", demands=poisson(seed)), in_order("least_loaded", talks=talks(seed))):
        for place, request in enumerate(requests):
            load = outstanding(requests[:place], request.arrival_s)
            assert load[request.replica] == min(load)
            assert request.replica == load.index(min(load)), "the first of equal ones"
            loads.add(tuple(load))
    assert len(loads) > 20, "loads must differ for this to say anything"


@pytest.mark.parametrize("seed", SEEDS)
def test_session_affinity_keeps_every_turn_of_a_session_on_one_replica(seed: int) -> None:
    requests = in_order("session_affinity", talks=talks(seed))
    homes = {r.session: r.replica for r in requests}
    assert len(requests) == 36 * 6
    assert all(homes[r.session] == r.replica for r in requests)
    assert homes == {session: session % 3 for session in range(36)}


@pytest.mark.parametrize("seed", SEEDS)
def test_prefix_aware_sends_where_the_fewest_tokens_are_computed_before_the_prompt_is_done(seed: int) -> None:
    """To the longest kept prefix, unless what waits there is more than it saves; of equal ones to the least loaded."""
    requests = in_order("prefix_aware", talks=talks(seed))
    ways = set()
    for place, request in enumerate(requests):
        earlier = requests[:place]
        now_s = request.arrival_s
        waiting, found, load = prompts_waiting(earlier, now_s), kept(earlier, request), outstanding(earlier, now_s)
        to_compute = [waiting[n] + request.prompt_tokens - found[n] for n in range(3)]
        assert request.replica == min(range(3), key=lambda n: (to_compute[n], load[n], n))
        assert sum(request.hit_tokens) == found[request.replica]
        if max(found) > 0:
            ways.add("longest prefix" if found[request.replica] == max(found) else "less load")
    assert ways == {"longest prefix", "less load"}


def test_prefix_aware_counts_on_nothing_that_cannot_be_used() -> None:
    """A window keeps the end of a context alone: for a turn that leaves it before, there is nothing anywhere.

    At 10.3 s 20 tokens wait at replica 0, where the session was, and none at replica 1.
    """
    cost = stub_cost((Span("sliding", 8),), block_size=1, law=TokenLaw(TOKEN_S))
    document = Demand(0, 0.0, 64, 1, session=0, turn=0, last=False)
    edited = Demand(4, 10.3, 50, 1, session=0, turn=1, reusable_tokens=40)
    demands = [document, at(10.0, 100, 50, 1), at(10.1, 30, 50, 2), at(10.2, 20, 1, 3), edited]
    requests = {r.index: r for r in Case(cost, routed("prefix_aware", replicas=2, seats=1), demands).run().finished}
    assert [requests[i].replica for i in range(4)] == [0, 0, 1, 0]
    assert requests[4].hit_tokens == [0, 0, 0]
    assert requests[4].replica == 1


# One queue for all


def fleet(
    laws: Sequence[float], demands: Sequence[Demand], router: str = "central_queue", stepping: Stepping = "macro"
) -> Journal:
    """The journal of replicas whose tokens take so long each, one kind each, with four seats."""
    kinds = [(routed(router, replicas=1), stub_cost(law=TokenLaw(seconds))) for seconds in laws]
    return of_kinds(kinds, demands, stepping)


def of_kinds(
    kinds: Sequence[tuple[Scenario, StubCost]], demands: Sequence[Demand], stepping: Stepping = "macro"
) -> Journal:
    (scenario, cost), *others = cast("list[tuple[Scenario, CostModel]]", kinds)
    return Cluster(scenario, cost, ListSource(demands), others=others, stepping=stepping, keep_history=True).run()


def check_nobody_idles(requests: Records, runs: Records, replicas: int, seats: int, budget: int) -> int:
    """Fails where a replica runs less than seats and budget allow, or nothing at all, while a request waits.

    Returns how many iterations began while one waited. Times within a microsecond are one.
    """
    arrival_s, admitted_s = np.asarray(requests["arrival_s"]), np.asarray(requests["admitted_s"])
    instant_s = 1e-6
    waited = 0
    for number in range(replicas):
        mine = np.flatnonzero(runs["replica"] == number)
        idle_from_s = 0.0
        for place in mine:
            k = np.arange(runs["iterations"][place] + 1)
            first_s, growth_s = runs["first_s"][place], runs["growth_s"][place]
            boundary_s = runs["start_s"][place] + k * first_s + growth_s * k * (k - 1) / 2
            came = arrival_s[:, None] < boundary_s[None, :-1] - instant_s
            waits = (came & (admitted_s[:, None] > boundary_s[None, :-1] + instant_s)).any(axis=0).sum()
            full = runs["sequences"][place] == seats or runs["new_tokens"][place] == budget
            assert full or not waits
            waited += int(waits)
            idle_s = np.minimum(admitted_s, boundary_s[0]) - np.maximum(arrival_s, idle_from_s)
            assert idle_s.max() <= instant_s
            idle_from_s = boundary_s[-1]
        assert (admitted_s - np.maximum(arrival_s, idle_from_s)).max() <= instant_s
    return waited


@pytest.mark.parametrize("stepping", ["macro", "single"])
@pytest.mark.parametrize("laws", [[0.01] * 3, [0.01, 0.004], [0.002, 0.02, 0.006]], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_no_replica_idles_while_a_request_waits_in_a_central_queue(
    laws: Sequence[float], seed: int, stepping: Stepping
) -> None:
    rate = sum(1 / seconds for seconds in laws) / MEAN_TOKENS
    journal = fleet(laws, poisson(seed, mean_s=1 / rate), stepping=stepping)
    waited = check_nobody_idles(journal.requests.table(), journal.runs.table(), len(laws), seats=4, budget=64)
    assert waited > 20, "someone must wait for this to say anything"


@pytest.mark.parametrize("stepping", ["macro", "single"])
def test_who_stood_behind_one_without_room_is_taken_once_that_one_is_elsewhere(stepping: Stepping) -> None:
    """Pools of 100: beside 50 and more at replica 0 there is room for 10, not for 96, which wait for replica 1 until
    4 s. Replica 0 has its turn before that, and takes the ten at its next boundary."""
    kind = (routed("central_queue", replicas=1), stub_cost(block_size=1, capacity_bytes=100.0, law=ConstantLaw(1.0)))
    limits = replace(kind[0], serving=kind[0].serving.model_copy(update={"max_num_batched_tokens": 2048}))
    demands = [at(0.0, 50, 30, 0), at(0.0, 90, 4, 1), at(0.5, 96, 4, 2), at(0.6, 10, 2, 3)]
    finished = {r.index: r for r in of_kinds([(limits, kind[1])] * 2, demands, stepping).finished}
    assert [finished[i].replica for i in range(4)] == [0, 1, 1, 0]
    assert [finished[i].admitted_s for i in range(4)] == [0.0, 0.0, 4.0, 5.0]


MACHINES = "[{hardware: b200-sxm, replicas: 2}]"


def real(router: str, rate: float = 30.0, groups: str = MACHINES, **settings: object) -> Simulation:
    """Llama-3.1-8B on one A100 and two B200 behind a router, eight seats each."""
    return simulate(
        load_scenario(
            "llama-8b-chat",
            {"deployment.groups": groups, "deployment.router": router, "serving.max_num_seqs": 8,
             "workload.prompt_tokens": {"kind": "uniform", "min": 100, "max": 4_000},
             "workload.arrival": {"kind": "poisson", "rate": f"{rate} /s"}, "workload.num_requests": 400,
             "run.warmup": "none", "slo": {}} | settings,
        )
    )  # fmt: skip


def test_no_replica_of_a_mixed_fleet_idles_while_a_request_waits() -> None:
    found = real("central_queue")
    assert set(found.requests["replica"].tolist()) == {0, 1, 2}
    assert check_nobody_idles(found.requests, found.runs, 3, seats=8, budget=2048) > 100


def test_other_routers_leave_replicas_idle_while_requests_wait() -> None:
    """What the check looks for does happen elsewhere."""
    found = real("round_robin")
    with pytest.raises(AssertionError):
        check_nobody_idles(found.requests, found.runs, 3, seats=8, budget=2048)


# The faster replica


def share_of_last(journal: Journal, replicas: int = 2) -> float:
    return float((journal.requests.column("replica") == replicas - 1).mean())


def test_a_replica_three_times_as_fast_takes_three_of_four_out_of_a_central_queue() -> None:
    """One seat each and equal requests, of 12 s and 4 s: in 120 s ten and thirty are done."""
    limits = routed("central_queue", replicas=1, seats=1)
    kinds = [(limits, stub_cost(law=ConstantLaw(seconds))) for seconds in (3.0, 1.0)]
    journal = of_kinds(kinds, [at(0.0, 10, 4, i) for i in range(40)])
    assert share_of_last(journal) == 0.75
    assert max(r.finished_s for r in journal.finished) == 120.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("router", ["least_loaded", "central_queue"])
def test_a_faster_replica_takes_more_than_its_turn(router: str, seed: int) -> None:
    demands = poisson(seed, mean_s=MEAN_TOKENS / (100 + 300) / 0.9)
    taken = share_of_last(fleet([0.01, 0.01 / 3], demands, router))
    assert share_of_last(fleet([0.01, 0.01 / 3], demands, "round_robin")) == 0.5
    assert taken > 0.5


@pytest.mark.parametrize("router", ["least_loaded", "central_queue"])
def test_faster_machines_take_more_than_their_turn(router: str) -> None:
    turns = (np.asarray(real("round_robin").requests["replica"]) > 0).mean()
    assert turns == pytest.approx(2 / 3, abs=1 / 400)
    assert (np.asarray(real(router).requests["replica"]) > 0).mean() > turns + 1 / 400
