"""The course of one session alone against pricing every iteration, and the bounds by hand."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from cost_scenarios import MODELS, most_ranks, scenario

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.spec.scenario import load_scenario
from ctxsim.workload import make_source

SAMPLES = Path(__file__).parent / "traces"

SMALL = {
    "workload__document_tokens": 5_000,
    "workload__question_tokens": 90,
    "workload__answer_tokens": 30,
    "workload__rounds": 3,
    "serving__max_num_batched_tokens": 700,
    "serving__iteration_overhead": "200 us",
}


class ByHand:
    """One iteration after another, each priced on its own."""

    def __init__(self, cost: CostModel, short_first: bool = False) -> None:
        self.cost = cost
        self.seconds = self.compute_s = self.own_bytes = 0.0
        self.context = self.passes = 0
        self.short_first = short_first

    def compute(self, tokens: int, budget: int) -> None:
        """So many more tokens, at most ``budget`` an iteration; what is left over comes last, or first."""
        while tokens:
            new = tokens % budget or budget if self.short_first else min(budget, tokens)
            batch = self.cost.batch(new, self.context)
            self.seconds += self.cost.pass_s(batch)
            self.compute_s += sum(c.compute_s for c in self.cost.breakdown(batch))
            self.own_bytes += self.cost.hbm_bytes(batch) - self.cost.streamed_bytes(batch)
            self.passes += 1
            self.context += new
            tokens -= new


@pytest.mark.parametrize("name", MODELS)
def test_a_session_alone_is_the_sum_of_its_iterations(name: str) -> None:
    """Each answer's last token has no KV yet, so it is computed with the next question."""
    served = scenario(name, "h100-80gb-sxm", deployment__tensor_parallel=most_ranks(name), **SMALL)
    analysis = analyze(served)
    hand, least = ByHand(CostModel(served)), ByHand(CostModel(served), short_first=True)
    hand.compute(5_090, 700)
    assert analysis.keys["first_token_s"] == pytest.approx(hand.seconds, rel=1e-9)
    first_s = hand.seconds
    hand.compute(29, 1)
    assert analysis.keys["last_token_s"] == pytest.approx(hand.seconds, rel=1e-9)
    for _ in range(2):
        hand.compute(91, 700)
        hand.compute(29, 1)
    for tokens in (5_090, *[1] * 29, 91, *[1] * 29, 91, *[1] * 29):
        least.compute(tokens, 700)
    course = analysis.course
    assert analysis.keys["session_busy_s"] == course.busy_s == pytest.approx(hand.seconds, rel=1e-9)
    assert course.resident_s == pytest.approx(hand.seconds - first_s, rel=1e-9)
    assert course.passes == hand.passes == least.passes
    assert course.compute_s == pytest.approx(least.compute_s, rel=1e-9)
    assert course.own_bytes == pytest.approx(least.own_bytes, rel=1e-9)
    assert least.own_bytes < hand.own_bytes
    assert least.compute_s <= hand.compute_s * (1 + 1e-12)


def test_the_paper_s_session_by_hand() -> None:
    """Prefill in chunks of one long prompt, then 1,249 steps over 50,001 to 51,249 tokens, at 2 TB/s."""
    keys = analyze(scenario()).keys
    prefill_s = (2 * 34e9 * 50_000 + 60 * 2 * 32 * 256 * 50_000**2 / 2) / 312e12
    steps_s = sum(68e9 + 245_760 * context for context in range(50_001, 51_250)) / 2e12
    assert keys["first_token_s"] == pytest.approx(prefill_s, rel=1e-12)
    assert keys["last_token_s"] == pytest.approx(
        prefill_s + sum(68e9 + 245_760 * c for c in range(50_001, 50_250)) / 2e12, rel=1e-12
    )
    assert keys["session_busy_s"] == pytest.approx(prefill_s + steps_s, rel=1e-12)


def test_the_paper_s_bounds_by_hand() -> None:
    """20 users with 60 s of reading after each of 5 answers, 1.457 sessions in HBM, swapping over 20 GB/s."""
    analysis = analyze(scenario())
    found = {b.resource: b.sessions_per_s for b in analysis.bounds}
    prefill_flop = 2 * 34e9 * 50_000 + 60 * 2 * 32 * 256 * 50_000**2 / 2
    step_flop = sum(2 * 34e9 + 983_040 * (context - 0.5) for context in range(50_001, 51_250))
    # The short chunk first: what every later one reads is the least then.
    ends = [50_000 % 2_048 + 2_048 * i for i in range(25)]
    own = 245_760 * (sum(ends) + sum(range(50_001, 51_250)))
    held, capacity = 245_760 * 50_000, 80 * 2**30 - 68e9
    sessions, passes = capacity / held, 25 + 1_249
    busy_s, resident_s = analysis.course.busy_s, analysis.course.resident_s
    assert found == pytest.approx(
        {
            "users": 20 / (busy_s + 300),
            "compute": 312e12 / (prefill_flop + step_flop),
            "hbm_bandwidth": 2e12 / (own + passes * 68e9 / sessions),
            # The link swaps what HBM does not hold at this rate.
            "hbm_size": sessions / resident_s,
        },
        rel=1e-9,
    )
    assert [b.sessions_per_s for b in analysis.bounds] == sorted(found.values())
    assert analysis.keys["sessions_per_hour_bound"] == pytest.approx(3600 * min(found.values()), rel=1e-12)


def test_an_open_loop_is_bounded_by_its_arrivals() -> None:
    """Two requests a second of 2,048 and 256 tokens, one round each."""
    analysis = analyze(load_scenario("llama-8b-chat"))
    found = {b.resource: b.sessions_per_s for b in analysis.bounds}
    assert found["arrivals"] == 2
    assert analysis.keys["bottleneck"] == "arrivals"
    assert analysis.keys["sessions_per_hour_bound"] == 7200
    assert analysis.keys["session_wall_s"] == analysis.keys["session_busy_s"] == analysis.keys["last_token_s"]


def test_replicas_multiply_every_bound_but_the_users() -> None:
    one, three = (analyze(scenario(deployment__replicas=n)) for n in (1, 3))
    a, b = ({x.resource: x.sessions_per_s for x in found.bounds} for found in (one, three))
    assert b.pop("users") == a.pop("users")
    assert b == pytest.approx({resource: 3 * rate for resource, rate in a.items()}, rel=1e-12)


def test_a_session_s_price_is_the_fleet_s_over_its_rate() -> None:
    prices = {"price__accelerator": "3.60 USD/hour", "serving__host_kv_capacity": "0 B"}
    keys = analyze(scenario(**prices)).keys
    assert keys["cost_usd_per_session"] == pytest.approx(3.60 / keys["sessions_per_hour_bound"], rel=1e-12)
    per_output = keys["cost_usd_per_session"] / (5 * 250)
    assert keys["cost_usd_per_million_output_tokens"] == pytest.approx(1e6 * per_output, rel=1e-12)


def test_a_trace_is_bounded_by_what_no_other_prompt_has_brought() -> None:
    """With prefix caching, prompts of which an earlier one had a part cost the FLOP of the rest alone."""
    cached, alone = (
        analyze(load_scenario("mooncake-replay", {"serving.enable_prefix_caching": on})) for on in (True, False)
    )
    found = [d.reusable_tokens for d in make_source(cached.scenario.workload, 0).initial()]
    new_tokens = cached.session.document_tokens - sum(found) // len(found)
    assert 0 < new_tokens < cached.session.document_tokens
    budget = cached.scenario.serving.max_num_batched_tokens
    for analysis, tokens in ((cached, new_tokens), (alone, alone.session.document_tokens)):
        hand = ByHand(analysis.cost, short_first=True)
        hand.compute(tokens, budget)
        prefill_s, passes = hand.compute_s, hand.passes
        hand = ByHand(analysis.cost)
        hand.context = analysis.session.document_tokens
        hand.compute(analysis.session.answer_tokens - 1, 1)
        assert analysis.course.compute_s == pytest.approx(prefill_s + hand.compute_s, rel=1e-9)
        assert analysis.course.passes == passes + hand.passes
    assert cached.keys["first_token_s"] == alone.keys["first_token_s"]


def test_a_trace_at_its_users_pace_has_no_arrival_rate(tmp_path: Path) -> None:
    path = tmp_path / "agentic.parquet"
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(SAMPLES / "agentic.csv"), path)
    trace = {"kind": "trace", "trace": str(path), "format": "agentic"}
    for pace, bounded in (("recorded", True), ("think_time", False)):
        bounds = analyze(load_scenario("llama-8b-chat", {"workload": trace | {"pace": pace}})).bounds
        rate = next(b.sessions_per_s for b in bounds if b.resource == "arrivals")
        assert (rate < inf) == bounded
