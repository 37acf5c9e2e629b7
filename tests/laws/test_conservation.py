"""What no simulation may lose, make up or overdo: requests, tokens, blocks, time; and equal seeds, equal bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import Case, random_case
from support.real import closed_requests, scenario_of

from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.jump import TIE_S
from ctxsim.spec.scenario import Scenario


@dataclass(frozen=True)
class Served:
    """A case that was run."""

    case: Case
    cluster: Cluster
    journal: Journal

    @cached_property
    def runs(self) -> Table:
        return self.journal.runs.table()

    @cached_property
    def run_s(self) -> np.ndarray:
        """How long each run lasted."""
        n = self.runs["iterations"]
        lasted: np.ndarray = n * self.runs["first_s"] + self.runs["growth_s"] * n * (n - 1) / 2
        return lasted

    def by_replica(self) -> dict[int, list[ServedRequest]]:
        """The finished requests of each replica in order of arrival."""
        found: dict[int, list[ServedRequest]] = defaultdict(list)
        for request in sorted(self.journal.finished, key=lambda r: (r.arrival_s, r.index)):
            found[request.replica].append(request)
        return found


def run(rng: Random) -> Served:
    case = random_case(rng)
    cluster = case.cluster()
    return Served(case, cluster, cluster.run())


cases = st.randoms(use_true_random=False).map(run)


@given(cases)
def test_every_request_is_finished_or_rejected_once(served: Served) -> None:
    journal = served.journal
    indices = [r.index for r in journal.finished] + [d.index for d in journal.rejected]
    assert sorted(indices) == list(range(journal.arrivals))
    if served.case.scenario.run.horizon is None:
        assert journal.arrivals == served.case.source().num_requests
    for request in journal.finished:
        assert request.generated_tokens == request.output_tokens


@given(cases)
def test_every_token_is_computed_once_and_again_where_it_was_lost(served: Served) -> None:
    computed = int(np.sum(served.runs["new_tokens"] * served.runs["iterations"]))
    stored = sum(r.largest_context for r in served.journal.finished)
    recomputed = sum(r.recomputed_tokens for r in served.journal.finished)
    assert computed == stored + recomputed
    assert served.journal.preemptions == sum(r.preemptions for r in served.journal.finished)
    assert all(r.recomputed_tokens == 0 for r in served.journal.finished if not r.preemptions)


@given(cases)
def test_every_pause_between_tokens_is_counted_once(served: Served) -> None:
    """In number, and in time: a request's pauses add up to its time from first to last token."""
    runs, journal = served.runs, served.journal
    in_runs = int(np.sum(runs["decoding"] * runs["iterations"]))
    assert in_runs + len(journal.gaps) == sum(max(r.output_tokens - 1, 0) for r in journal.finished)
    paused_s = float(np.sum(runs["decoding"] * served.run_s)) + float(np.sum(journal.gaps["pause_s"]))
    assert paused_s == pytest.approx(sum(r.finished_s - r.first_token_s for r in journal.finished), rel=1e-9, abs=1e-9)


@given(cases)
def test_blocks_are_within_the_pool_and_all_come_back(served: Served) -> None:
    capacity_bytes = served.case.cost.memory.kv_capacity_bytes
    assert np.all(served.runs["kv_start_bytes"] >= 0)
    assert np.all(served.runs["kv_start_bytes"] <= served.runs["kv_end_bytes"])
    assert np.all(served.runs["kv_end_bytes"] <= capacity_bytes)
    for station in served.cluster.stations:
        core = station.core
        assert core.used_bytes == 0
        left = (core.running, core.waiting, core.held, core.fetching, core.prefilling, core.paused)
        assert [len(requests) for requests in left] == [0] * len(left)
        assert len(core.decodes) == 0


@given(cases)
def test_limits_of_the_engine_hold(served: Served) -> None:
    serving = served.case.scenario.serving
    assert np.all(served.runs["sequences"] <= serving.max_num_seqs)
    assert np.all(served.runs["new_tokens"] <= serving.max_num_batched_tokens)
    assert np.all(served.runs["decoding"] <= served.runs["decode_tokens"])
    assert np.all(served.runs["new_tokens"] >= served.runs["sequences"])
    assert np.all(served.runs["sequences"] >= 1)
    assert np.all(served.runs["iterations"] >= 1)


@given(cases)
def test_causes_come_before_effects(served: Served) -> None:
    for r in served.journal.finished:
        assert r.arrival_s - TIE_S <= r.admitted_s < r.first_token_s <= r.finished_s
        assert r.arrival_s <= r.first_token_s
        assert (r.first_token_s < r.finished_s) == (r.output_tokens > 1)
    horizon_s = served.case.scenario.run.horizon
    assert horizon_s is None or all(r.arrival_s < horizon_s for r in served.journal.finished)


@given(cases)
def test_first_come_is_first_served(served: Served) -> None:
    """On each replica requests are first admitted, and without preemption first answered, in order of arrival."""
    for requests in served.by_replica().values():
        admissions = [r.admitted_s for r in requests]
        assert admissions == sorted(admissions)
        undisturbed = [r.first_token_s for r in requests if not any(q.preemptions for q in requests)]
        assert undisturbed == sorted(undisturbed)


@given(cases)
def test_no_replica_idles_while_something_waits(served: Served) -> None:
    """Between two runs a replica either goes on at once, or has nothing to do and goes on when something arrives."""
    by_replica = served.by_replica()
    for replica, requests in by_replica.items():
        mine = np.flatnonzero(served.runs["replica"] == replica)
        starts_s = served.runs["start_s"][mine]
        ends_s = starts_s + served.run_s[mine]
        assert starts_s[0] == min(r.arrival_s for r in requests)
        for end_s, start_s in zip(ends_s, starts_s[1:], strict=False):
            if start_s > end_s + TIE_S:
                assert start_s in {r.arrival_s for r in requests}
                assert not [r for r in requests if r.arrival_s < start_s - TIE_S and r.finished_s > end_s + TIE_S]
            else:
                assert start_s == pytest.approx(end_s, rel=1e-12)


def two_replicas(seed: int) -> Scenario:
    return scenario_of(
        "llama-3.1-8b",
        "a100-80gb-sxm",
        {
            "kind": "requests",
            "prompt_tokens": {"kind": "lognormal", "mean": 700.0, "p95": 2000.0},
            "output_tokens": {"kind": "lognormal", "mean": 150.0, "p95": 400.0},
            "arrival": {"kind": "poisson", "rate": "25 /s"},
            "num_requests": 120,
        },
        deployment__replicas=2,
        serving__num_gpu_blocks_override=500,
        run__seed=seed,
    )


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    first, again, other = simulate(two_replicas(3)), simulate(two_replicas(3)), simulate(two_replicas(4))
    given_seed = simulate(two_replicas(4), seed=3)
    for name in ("requests", "sessions", "runs"):
        for column, values in getattr(first, name).table().columns.items():
            assert values.tobytes() == getattr(again, name)[column].tobytes()
            assert values.tobytes() == getattr(given_seed, name)[column].tobytes()
    assert first.summary == again.summary
    assert first.requests["finished_s"].tobytes() != other.requests["finished_s"].tobytes()


MODELS = ["paper-34b", "llama-3.1-8b", "gemma-3-27b", "mixtral-8x7b", "jamba-1.5-mini", "gpt-oss-20b"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("users", [1, 12])
def test_nothing_is_used_beyond_its_rate(model: str, users: int) -> None:
    """In bf16, whose peak is the one that MFU is measured by."""
    lengths = {"kind": "lognormal", "mean": 2000.0, "p95": 6000.0}
    outputs = {"kind": "lognormal", "mean": 60.0, "p95": 200.0}
    summary = simulate(closed_requests(model, prompt=lengths, output=outputs, users=users, num_requests=40)).summary
    assert 0 < summary["mfu_ratio"] <= 1
    assert 0 < summary["mbu_ratio"] <= 1
    assert 0 < summary["kv_used_ratio"]["mean"] <= summary["kv_used_ratio"]["peak"] <= 1


@pytest.mark.parametrize("outputs", [0, 1])
def test_busy_machines_reach_the_roofline(outputs: int) -> None:
    """Prefill alone of many prompts keeps the tensor cores busy; one sequence that decodes keeps the memory busy."""
    prefill = simulate(closed_requests("llama-3.1-8b", prompt=2048, output=outputs, users=8, num_requests=64)).summary
    assert prefill["mfu_ratio"] > 0.95
    decode = simulate(closed_requests("llama-3.1-8b", prompt=1, output=500)).summary
    assert decode["mbu_ratio"] > 0.95


def test_recomputed_tokens_are_in_the_summary() -> None:
    simulation = simulate(two_replicas(3))
    assert simulation.summary["preemptions"] == int(np.sum(simulation.requests["preemptions"])) > 0
    assert simulation.summary["recomputed_tokens"] == int(np.sum(simulation.requests["recomputed_tokens"])) > 0
