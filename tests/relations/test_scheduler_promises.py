"""What each scheduler's docstring promises, plan by plan over random workloads and in the times of paired ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from support.cases import Case, engine, random_case, stub_cost
from support.laws import ConstantLaw, TokenLaw
from support.residency import residency_case
from support.sources import ListSource, at

from ctxsim.cost import CostModel
from ctxsim.cost.course import alone_s
from ctxsim.engine import SCHEDULERS, EngineCore, Plan, Request
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.spec.scenario import load_scenario
from ctxsim.workload.demand import Demand

CORPORA = {"requests": (random_case, 24), "sessions": (residency_case, 24)}

TOKEN_S = 0.01
BUDGET = 64


@dataclass(frozen=True)
class Seen:
    """A plan, and the engine before it was made; requests oldest first.

    answering: those that decode. blocked: whether who is first in the queue has no seat, or no room beside what
    decoding takes. After it, left_tokens: what each prompt under way lacks; answers, waiting: how many do.
    """

    plan: Plan
    core: EngineCore
    running: list[Request]
    answering: list[Request]
    prefilling: list[Request]
    blocked: bool
    left_tokens: dict[Request, int]
    answers: int
    waiting: int

    @property
    def given(self) -> dict[Request, int]:
        return dict(self.plan.chunks)

    @property
    def budget(self) -> int:
        return self.core.limits.max_num_batched_tokens - self.answers


def is_blocked(core: EngineCore) -> bool:
    if core.seats <= 0 or not core.waiting:
        return True
    wanted_bytes = core.layout.footprint_bytes(core.waiting.first().prefill_tokens) + core.decodes.demand_bytes(1)
    return wanted_bytes > core.free_bytes


@contextmanager
def plans_of(name: str) -> Iterator[list[Seen]]:
    """What the scheduler of that name plans within the block."""
    seen: list[Seen] = []
    real = SCHEDULERS[name]

    class Watched(real):  # type: ignore[valid-type,misc]
        def plan(self, core: EngineCore) -> Plan:
            before = list(core.running), core.decoding(), list(core.prefilling), is_blocked(core)
            plan: Plan = super().plan(core)
            left_tokens = {r: r.prefill_tokens - r.computed_tokens for r in core.prefilling}
            seen.append(Seen(plan, core, *before, left_tokens, len(core.decodes), len(core.waiting)))
            return plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCHEDULERS, name, Watched)
        yield seen


def scheduled(case: Case, name: str) -> Case:
    serving = case.scenario.serving.model_copy(update={"scheduler": name})
    return replace(case, scenario=replace(case.scenario, serving=serving))


def plans(name: str, corpus: str) -> list[Seen]:
    """All plans of the corpus, one iteration each."""
    make, cases = CORPORA[corpus]
    with plans_of(name) as seen:
        for seed in range(cases):
            scheduled(make(Random(seed)), name).run("single")
    assert any(p.answering and p.plan.preempted for p in seen)
    return seen


def served(name: str, demands: Sequence[Demand]) -> Journal:
    """Prompts and answers that take a time for each token, with room for all."""
    return scheduled(Case(stub_cost(law=TokenLaw(TOKEN_S)), engine(max_num_batched_tokens=BUDGET), demands), name).run()


def ttft_s(requests: Sequence[ServedRequest]) -> np.ndarray:
    return np.array([r.first_token_s - r.arrival_s for r in requests])


def poisson(seed: int) -> list[Demand]:
    """Requests of 60 + 40 tokens on average, at random, that keep the replica busy for 70 % of the time."""
    rng = Random(seed)
    arrival_s, demands = 0.0, []
    for index in range(120):
        arrival_s += rng.expovariate(0.7 / (100 * TOKEN_S))
        demands.append(at(arrival_s, rng.choice([5, 20, 40, 175]), rng.randint(1, 79), index))
    return demands


@pytest.mark.parametrize("corpus", CORPORA)
def test_fcfs_serves_those_who_answer_then_half_computed_prompts_then_the_queue(corpus: str) -> None:
    """One token for all who decode; of prompts the oldest first, each whole but the last, within the budget."""
    for seen in plans("fcfs", corpus):
        assert seen.plan.decoding
        order = [r for r in (*seen.prefilling, *seen.plan.admitted) if r in seen.left_tokens]
        assert list(seen.given) == order[: len(seen.given)]
        assert all(tokens == seen.left_tokens[request] for request, tokens in seen.plan.chunks[:-1])
        assert sum(seen.given.values()) == min(seen.budget, sum(seen.left_tokens.values()))


@pytest.mark.parametrize("corpus", CORPORA)
def test_fcfs_preempts_the_last_admitted_and_admits_nobody_then(corpus: str) -> None:
    for seen in plans("fcfs", corpus):
        preempted = seen.plan.preempted
        assert not (preempted and seen.plan.admitted)
        if corpus == "requests":
            assert preempted == seen.running[::-1][: len(preempted)]
            idle_budget = sum(seen.given.values()) < seen.budget
            assert seen.blocked or preempted or seen.plan.admitted or not idle_budget


@pytest.mark.parametrize("seed", range(60))
def test_fcfs_first_tokens_come_in_order_of_arrival(seed: int) -> None:
    """On each replica, whatever the pool: who is preempted came last, and goes back before all who never ran."""
    finished = scheduled(random_case(Random(seed)), "fcfs").run().finished
    for number in {r.replica for r in finished}:
        mine = sorted((r for r in finished if r.replica == number), key=lambda r: (r.arrival_s, r.index))
        assert all(a.first_token_s <= b.first_token_s and a.admitted_s <= b.admitted_s for a, b in pairwise(mine))


@pytest.mark.parametrize("corpus", CORPORA)
def test_prefill_first_makes_no_token_while_any_prompt_is_computed(corpus: str) -> None:
    for seen in plans("prefill_first", corpus):
        assert seen.plan.decoding == (not seen.left_tokens)
        assert seen.plan.decoding == (not seen.plan.chunks)


def test_prefill_first_starts_whoever_can_run_before_answers_go_on() -> None:
    going_on = [p for p in plans("prefill_first", "requests") if p.plan.decoding and p.answering]
    assert all(p.blocked for p in going_on)
    assert any(p.waiting for p in going_on), "the corpus must make someone wait"


@pytest.mark.parametrize("other", ["fcfs", "decode_first"])
def test_prefill_first_brings_first_tokens_soonest(other: str) -> None:
    """Of those who take prompts in order; paired means. Answers pay for it: theirs are interrupted."""
    workloads = [poisson(seed) for seed in range(8)]
    first, last = ([served(name, w) for w in workloads] for name in ("prefill_first", other))
    assert sum(ttft_s(j.finished).mean() for j in first) < sum(ttft_s(j.finished).mean() for j in last)
    assert all(len(journal.gaps) > 0 for journal in first)
    assert other != "fcfs" or all(len(journal.gaps) == 0 for journal in last)


@pytest.mark.parametrize("corpus", CORPORA)
def test_decode_first_admits_nobody_while_anyone_answers(corpus: str) -> None:
    for seen in plans("decode_first", corpus):
        assert not (seen.plan.admitted and (seen.answering or seen.prefilling))


def amid_answers(plans: Sequence[Seen]) -> list[Seen]:
    """Plans of prompts after an answer has gone on beyond its first token, and before all answers are done."""
    going_on: dict[EngineCore, bool] = {}
    amid = []
    for seen in plans:
        going_on[seen.core] = bool(seen.answering) and going_on[seen.core]
        if seen.plan.chunks and going_on[seen.core]:
            amid.append(seen)
        going_on[seen.core] |= seen.plan.decoding and seen.answers > 0
    return amid


@pytest.mark.parametrize("corpus", CORPORA)
def test_decode_first_computes_no_prompt_amid_answers(corpus: str) -> None:
    """All prompts of a batch are computed, then all answers (room may run out all the same, and one lose its own)."""
    assert len(amid_answers(plans("decode_first", corpus))) == 0


def test_decode_first_computes_a_prompt_that_waits_for_a_copy_before_answers_too() -> None:
    """At 8 s two are admitted: one at once with thirty tokens to make, one whose KV is on its way in until 12 s."""
    copied = Demand(2, 7.0, 42, 1, session=0, turn=1, reusable_tokens=40)
    demands = [Demand(0, 0.0, 40, 1, 0, 0, last=False), at(2.0, 90, 2, 1), copied, at(7.0, 5, 30, 3)]
    cost = stub_cost(block_size=1, capacity_bytes=100.0, law=ConstantLaw(1.0))
    limits = engine()
    serving = limits.serving.model_copy(update={"residency": "swap", "host_kv_capacity": 1000.0, "block_size": 1})
    hardware = replace(limits.hardware, host_link_bytes_per_s=10.0)
    case = scheduled(Case(cost, replace(limits, serving=serving, hardware=hardware), demands), "decode_first")
    with plans_of("decode_first") as seen:
        rows = {r.index: r for r in case.run().finished}
    assert (rows[2].admitted_s, rows[3].admitted_s, rows[2].fetched_s) == (8.0, 8.0, 12.0)
    assert amid_answers(seen) == []


@pytest.mark.parametrize("seed", range(8))
def test_decode_first_serves_batch_after_batch(seed: int) -> None:
    """With room for all: those admitted together are done before the next are admitted, all who came until then."""
    requests = served("decode_first", poisson(seed)).requests.table()
    starts_s = np.unique(requests["admitted_s"])
    assert len(starts_s) > 5
    for start_s, next_s in pairwise(starts_s):
        assert requests["finished_s"][requests["admitted_s"] == start_s].max() <= next_s
        came = (requests["arrival_s"] > start_s) & (requests["arrival_s"] < next_s)
        assert (requests["admitted_s"][came] == next_s).all()


@pytest.mark.parametrize("corpus", CORPORA)
def test_shortest_prompt_first_passes_over_no_shorter_prompt(corpus: str) -> None:
    """Of the prompts under way: who is not served has no fewer tokens left than who is, and the longest is cut."""
    for seen in plans("shortest_prompt_first", corpus):
        left = {r: tokens for r, tokens in seen.left_tokens.items() if r in seen.prefilling or corpus == "requests"}
        served_now = [left[r] for r in left if r in seen.given]
        longest = max(served_now, default=0)
        assert all(tokens >= longest for r, tokens in left.items() if r not in seen.given)
        assert [left[r] for r in left if 0 < seen.given.get(r, 0) < left[r]] in ([], [longest])


def test_shortest_prompt_first_counts_only_what_is_left_to_compute() -> None:
    """Two wait while a prompt of 200 is computed: 20 tokens after 480 that are kept, and 128 tokens."""
    known = Demand(2, 5.5, 500, 1, session=0, turn=1, reusable_tokens=480)
    demands = [Demand(0, 0.0, 480, 1, 0, 0, last=False), at(5.0, 200, 1, 1), known, at(5.5, 128, 1, 3)]
    finished = {r.index: r for r in served("shortest_prompt_first", demands).finished}
    assert finished[2].hit_tokens == [480, 0, 0]
    assert finished[2].first_token_s < finished[3].first_token_s


def slotted(seed: int) -> list[Demand]:
    """Prompts of one to twenty whole iterations, without answers, that come at boundaries: one runs at a time."""
    rng = Random(seed)
    slots = sorted(rng.randint(0, 300) for _ in range(60))
    sizes = (rng.choice([1, 2, 2, 3, 20]) for _ in slots)
    return [at(slot * BUDGET * TOKEN_S, n * BUDGET, 0, i) for i, (slot, n) in enumerate(zip(slots, sizes, strict=True))]


def shortest_remaining_ends(demands: Sequence[Demand]) -> list[int]:
    """Slots after which prompts are done, in order, where each slot goes to the one with the fewest slots left."""
    coming = [(round(d.arrival_s / (BUDGET * TOKEN_S)), d.prompt_tokens // BUDGET) for d in demands]
    ends, left = [], []
    for slot in range(300 + sum(n for _, n in coming)):
        left = sorted(left + [n for came, n in coming if came == slot])
        if left:
            left[0] -= 1
            ends += [slot + 1] * (left[0] == 0)
            left = [n for n in left if n]
    return ends


@pytest.mark.parametrize("seed", range(10))
def test_shortest_prompt_first_has_the_least_mean_ttft_of_all(seed: int) -> None:
    """No schedule of one machine has less than the shortest remaining time first (Schrage 1968), on every path."""
    demands = slotted(seed)
    journals = {name: served(name, demands) for name in SCHEDULERS}
    found = np.sort(journals["shortest_prompt_first"].requests.column("first_token_s"))
    assert found == pytest.approx(np.array(shortest_remaining_ends(demands)) * BUDGET * TOKEN_S, rel=1e-9)
    means = {name: ttft_s(journal.finished).mean() for name, journal in journals.items()}
    least = means.pop("shortest_prompt_first")
    assert all(least < other for other in means.values())


@pytest.mark.parametrize("corpus", CORPORA)
def test_fair_gives_equal_shares_to_all_who_need_them(corpus: str) -> None:
    """Within a token; who gets less needs no more, and nothing of the budget is left while anyone does."""
    for seen in plans("fair", corpus):
        assert sum(seen.given.values()) == min(seen.budget, sum(seen.left_tokens.values()))
        most = max(seen.given.values(), default=0)
        assert all(seen.given.get(r, 0) >= min(left, most - 1) for r, left in seen.left_tokens.items())


def test_a_short_prompt_beside_long_ones_takes_as_many_iterations_as_its_share_says() -> None:
    """m n / budget = 4 x 48 / 64 = 3, however long the other three are."""
    for longer in (192, 6_400, 64_000):
        demands = [*(at(0.0, longer, 1, i) for i in range(3)), at(0.0, 48, 1, 3)]
        finished = {r.index: r for r in served("fair", demands).finished}
        assert finished[3].first_token_s == pytest.approx(3 * BUDGET * TOKEN_S, rel=1e-12)


LONG_TOKENS, CHUNK_TOKENS, SHORT_TOKENS = 500_000, 2_048, (1_000, 4_000)


class Mixture:
    """One prompt of 500K tokens on a shipped model and machine, and sixty short ones spread over its time alone."""

    def __init__(self, model: str, scheduler: str) -> None:
        scenario = load_scenario(
            "llama-8b-chat",
            {"model": model, "hardware": "h200-sxm", "deployment.tensor_parallel": 4, "serving.scheduler": scheduler,
             "serving.max_num_batched_tokens": CHUNK_TOKENS},
        )  # fmt: skip
        self.cost = CostModel(scenario)
        rng = Random(7)
        alone_s = self.alone_s(LONG_TOKENS, CHUNK_TOKENS)
        sizes = [rng.randint(*SHORT_TOKENS) for _ in range(60)]
        short = [at((i + rng.random()) / 60 * alone_s, size, 1, i + 1) for i, size in enumerate(sizes)]
        cluster = Cluster(scenario, self.cost, ListSource([at(0.0, LONG_TOKENS, 1, 0), *short]), keep_history=True)
        journal = cluster.run()
        self.long, *self.short = sorted(journal.finished, key=lambda r: r.index)
        self.most = int(journal.runs.column("sequences").max())

    def alone_s(self, tokens: int, chunk: int) -> float:
        return alone_s(self.cost.law, self.cost.spans, tokens, 0, chunk)

    def longest_iteration_s(self) -> float:
        """At most the last whole chunk of the long prompt, and one of each of the others that there were at once."""
        last_chunk = self.cost.batch(CHUNK_TOKENS, LONG_TOKENS - CHUNK_TOKENS)
        beside = self.cost.batch(CHUNK_TOKENS, SHORT_TOKENS[1])
        return float(self.cost.pass_s(last_chunk) + (self.most - 1) * self.cost.pass_s(beside))


@pytest.mark.parametrize("model", ["paper-34b", "llama-4-scout"])
def test_fair_bounds_the_wait_of_short_prompts_beside_one_of_500k_tokens_and_fcfs_does_not(model: str) -> None:
    """In order they wait for half of the 245 chunks on average. With fair shares they take one iteration under way
    and their tokens over a share, seven at most; the last chunks take up to twice the mean one."""
    fair, fcfs = Mixture(model, "fair"), Mixture(model, "fcfs")
    share = CHUNK_TOKENS // fair.most
    iterations = np.array([1 + -(-r.prompt_tokens // share) for r in fair.short])
    assert (ttft_s(fair.short) <= iterations * fair.longest_iteration_s()).all()
    # In order, whoever came before the long prompt was done has its first token with it, or later.
    beside = [r for r in fcfs.short if r.arrival_s < fcfs.long.first_token_s]
    assert len(beside) == 60
    assert all(r.first_token_s >= fcfs.long.first_token_s for r in beside)
    ratio = ttft_s(fcfs.short).mean() / ttft_s(fair.short).mean()
    print(f"{model}: mean TTFT of short prompts {ratio:.1f} times as long under fcfs as under fair")
    assert ratio > LONG_TOKENS / CHUNK_TOKENS / 2 / (2 * iterations.max())


@pytest.mark.parametrize("model", ["paper-34b", "llama-4-scout"])
def test_fair_does_not_starve_the_long_prompt(model: str) -> None:
    """It has its share in every iteration: its time in such chunks alone, and that of those who came beside it."""
    fair = Mixture(model, "fair")
    share = CHUNK_TOKENS // fair.most
    beside = [r.prompt_tokens for r in fair.short if r.arrival_s < fair.long.first_token_s]
    assert fair.long.first_token_s <= fair.alone_s(LONG_TOKENS, share) + sum(fair.alone_s(n, share) for n in beside)
