"""Bounds by residency policy: by hand where one way across gaps binds, against a search where several do."""

from __future__ import annotations

import re
from dataclasses import replace
from math import exp, inf, log
from statistics import NormalDist

import pytest
from cost_scenarios import scenario
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.analysis import analyze
from ctxsim.analysis.residency import POLICIES, GapWays, Shares, swap_bytes_per_s
from ctxsim.analysis.thinks import share_of_longest
from ctxsim.analysis.work import show_work
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ConstantTime, ExponentialTime, LognormalTime

DOCUMENT_BYTES = 245_760 * 50_000
KEPT_BYTES = 245_760 * (50_249 // 16 * 16)
"""Whole blocks of a document and the 249 tokens of an answer whose KV is stored."""
POOL_BYTES = 80 * 2**30 - 68e9
THINK_S = 4 * 60
AGAIN_S = (2 * 34e9 * 50_240 + 60 * 2 * 32 * 256 * 50_240**2 / 2) / 312e12


def size_bound(base: Scenario) -> float:
    return next(b.sessions_per_s for b in analyze(base).bounds if b.resource == "hbm_size")


def paper(link_bytes_per_s: float = 20e9, **serving: object) -> Scenario:
    settings = {f"serving__{name}": value for name, value in serving.items()}
    base = scenario(deployment__router="session_affinity", **settings)
    return replace(base, hardware=replace(base.hardware, host_link_bytes_per_s=link_bytes_per_s))


def served_byte_s() -> float:
    return analyze(paper()).course.resident_s * DOCUMENT_BYTES


def test_kept_sessions_hold_hbm_through_their_think_times() -> None:
    assert size_bound(paper(residency="keep")) == pytest.approx(
        POOL_BYTES / (served_byte_s() + THINK_S * KEPT_BYTES), rel=1e-12
    )


def test_more_hbm_than_decoding_takes_lets_the_rest_be_computed_again() -> None:
    """Of u seconds a session: (u K - R b0) / (Z b) of the think time held, (u - F) / (4 f) computed again."""
    computed_s = analyze(paper()).course.compute_s
    held, again = POOL_BYTES / (THINK_S * KEPT_BYTES), 1 / (4 * AGAIN_S)
    seconds = (1 + served_byte_s() / (THINK_S * KEPT_BYTES) + computed_s * again) / (held + again)
    assert seconds > served_byte_s() / POOL_BYTES
    assert size_bound(paper(residency="recompute")) == pytest.approx(1 / seconds, rel=1e-9)


@pytest.mark.parametrize("link_bytes_per_s", [0.2e9, 0.5e9])
def test_the_link_swaps_what_hbm_does_not_hold(link_bytes_per_s: float) -> None:
    """Room enough for all 20 users, so nothing is ever lost; out and in go at once, in both directions of the link."""
    held, swapped = POOL_BYTES / (THINK_S * KEPT_BYTES), link_bytes_per_s / (4 * KEPT_BYTES)
    seconds = (1 + served_byte_s() / (THINK_S * KEPT_BYTES)) / (held + swapped)
    found = size_bound(paper(link_bytes_per_s, residency="swap", host_kv_capacity="1 TiB"))
    assert found == pytest.approx(1 / seconds, rel=1e-9)
    assert found > size_bound(paper(residency="keep"))


def test_a_fast_link_leaves_nothing_but_decoding_to_hbm() -> None:
    assert size_bound(paper(20e9, residency="swap", host_kv_capacity="1 TiB")) == pytest.approx(
        POOL_BYTES / served_byte_s(), rel=1e-12
    )


def test_host_memory_that_may_run_out_lets_sessions_be_computed_again() -> None:
    """Room for two sessions: held, (u H) / (Z b) swapped, and the rest computed again."""
    room_bytes = 2 * KEPT_BYTES
    computed_s = analyze(paper()).course.compute_s
    wanted = THINK_S * KEPT_BYTES
    rates = POOL_BYTES / wanted + room_bytes / wanted + 1 / (4 * AGAIN_S)
    seconds = (1 + served_byte_s() / wanted + computed_s / (4 * AGAIN_S)) / rates
    expected = min(1 / seconds, POOL_BYTES / served_byte_s())
    small = paper(residency="swap", host_kv_capacity=f"{room_bytes:.0f} B")
    assert size_bound(small) == pytest.approx(expected, rel=1e-9)
    assert size_bound(small) > size_bound(paper(residency="recompute"))


def test_without_host_memory_swapping_is_computing_again() -> None:
    for policy in ("swap", "cheapest", "clairvoyant"):
        nowhere = paper(residency=policy, host_kv_capacity="0 B")
        assert size_bound(nowhere) == size_bound(paper(residency="recompute"))


def test_without_prefix_caching_every_gap_is_computed_again() -> None:
    """The pool holds enough sessions that FLOP alone bind: F + 4 f seconds each."""
    for policy in POLICIES:
        base = scenario(
            hardware="h200-sxm", serving__residency=policy, serving__enable_prefix_caching=False,
            deployment__tensor_parallel=8, serving__host_kv_capacity="1 TiB",
        )  # fmt: skip
        a = analyze(base)
        again_s = AGAIN_S * 312e12 / a.cost.rates.plain_flop_per_s
        assert size_bound(base) == pytest.approx(1 / (a.course.compute_s + 4 * again_s), rel=1e-9)


def test_what_may_do_more_is_bounded_no_closer() -> None:
    for host in ("0 B", "10 GiB", "100 GiB", "1 TiB"):
        for link in (0.1e9, 1e9, 20e9):
            found = {policy: size_bound(paper(link, residency=policy, host_kv_capacity=host)) for policy in POLICIES}
            assert found["keep"] <= min(found["swap"], found["recompute"]) * (1 + 1e-12)
            assert max(found["swap"], found["recompute"]) <= found["cheapest"] * (1 + 1e-12)
            assert found["cheapest"] == found["clairvoyant"]


def test_another_router_may_find_sessions_computed_again() -> None:
    """Where turns go to any replica, swapping may be skipped: KV that lies elsewhere is not asked for."""
    homes = paper(0.2e9, residency="swap", host_kv_capacity="1 TiB")
    roaming = replace(homes, deployment=homes.deployment.model_copy(update={"router": "round_robin", "replicas": 2}))
    settled = replace(homes, deployment=homes.deployment.model_copy(update={"replicas": 2}))
    assert size_bound(roaming) > size_bound(settled)


@pytest.mark.parametrize(
    ("hardware", "ranks", "replicas", "tier", "gaps", "expected"),
    [
        # a100-80gb-sxm: two accelerators behind each root of 31.5 GB/s, DDR4 of 409.6 GB/s.
        ("a100-80gb-sxm", 1, 1, "exclusive", 4, 31.5e9),
        ("a100-80gb-sxm", 1, 2, "exclusive", 4, 31.5e9 / 2),
        ("a100-80gb-sxm", 2, 4, "exclusive", 4, 31.5e9),
        ("a100-80gb-sxm", 1, 3, "exclusive", 4, 2 * 31.5e9 / 3),
        ("a100-80gb-sxm", 1, 9, "exclusive", 4, 5 * 31.5e9 / 9),
        # h100-80gb-sxm: a root of 63 GB/s each, DDR5 of 614.4 GB/s for all, both ways together.
        ("h100-80gb-sxm", 1, 1, "exclusive", 4, 63e9),
        ("h100-80gb-sxm", 1, 8, "exclusive", 4, 614.4e9 / 2 / 8),
        ("h100-80gb-sxm", 1, 8, "inclusive", 4, 614.4e9 / 1.25 / 8),
        ("h100-80gb-sxm", 1, 16, "exclusive", 4, 614.4e9 / 2 / 8),
        ("h100-80gb-sxm", 8, 1, "exclusive", 4, 614.4e9 / 2),
    ],
)
def test_replicas_share_roots_and_memory(
    hardware: str, ranks: int, replicas: int, tier: str, gaps: int, expected: float
) -> None:
    base = scenario(
        hardware=hardware, deployment__tensor_parallel=ranks, serving__host_tier=tier, serving__host_kv_capacity="1 GiB"
    )
    fleet = replace(base, deployment=base.deployment.model_copy(update={"replicas": replicas}))
    assert swap_bytes_per_s(fleet, gaps) == pytest.approx(expected, rel=1e-12)


shares = st.builds(
    Shares,
    pool_bytes=st.floats(1, 100),
    served_byte_s=st.floats(0, 100),
    gaps=st.integers(1, 5),
    think_s=st.floats(0.1, 100),
    kept_bytes=st.floats(0.1, 10),
    swapped_bytes_per_s=st.floats(0.01, 10),
    room_bytes=st.floats(0.01, 100),
    computed_s=st.floats(0, 10),
    again_s=st.floats(0.01, 10),
    longest=st.sampled_from(
        [
            share_of_longest(ConstantTime(value="1 s")),
            share_of_longest(ExponentialTime(kind="exponential", mean="1 s")),
            share_of_longest(LognormalTime(kind="lognormal", mean="1 s", p95="3 s")),
        ]
    ),
    ways=st.sampled_from(
        [GapWays(hold, swap, again) for hold, swap, again in [(1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1), (0, 0, 1)]]
    ),
)


@given(shares)
def test_the_least_time_is_where_the_ways_just_cover_the_gaps(case: Shares) -> None:
    seconds = case.least_s()
    needed_s = case.served_byte_s / case.pool_bytes
    assert needed_s <= seconds < inf
    assert case.covered(seconds) >= 1 - 1e-9
    if seconds > needed_s:
        assert case.covered(max(needed_s, seconds * (1 - 1e-6))) < 1


@given(shares)
def test_no_mix_of_ways_does_better(case: Shares) -> None:
    """Every split of equal gaps into held, swapped and computed again needs at least that long of some resource."""
    equal = replace(case, longest=share_of_longest(None))
    least_s = min(needed_s(equal, held, swapped) for held in GRID for swapped in GRID if held + swapped <= 1)
    assert least_s >= equal.least_s() * (1 - 1e-9)
    assert least_s <= equal.least_s() * (1 + 1e-9) + slack_s(equal)


STEPS = 50
GRID = [i / STEPS for i in range(STEPS + 1)]


def needed_s(case: Shares, held: float, swapped: float) -> float:
    """Seconds that a session needs of the resource that takes longest; the rest of the gaps is computed again."""
    again = 1 - held - swapped
    ways = case.ways
    if (held and not ways.hold) or (swapped and not ways.swap) or (again > 1e-12 and not ways.recompute):
        return inf
    return max(
        (case.served_byte_s + held * case.think_s * case.kept_bytes) / case.pool_bytes,
        swapped * case.gaps * case.kept_bytes / case.swapped_bytes_per_s,
        swapped * case.think_s * case.kept_bytes / case.room_bytes,
        case.computed_s + again * case.gaps * case.again_s if again > 1e-12 else 0.0,
    )


def slack_s(case: Shares) -> float:
    """How far the grid may miss: one step of each way that is open."""
    ways = case.ways
    steps = [case.think_s * case.kept_bytes / case.pool_bytes]
    if ways.swap:
        steps += [case.gaps * case.kept_bytes / case.swapped_bytes_per_s]
        steps += [case.think_s * case.kept_bytes / case.room_bytes]
    if ways.recompute:
        steps += [case.gaps * case.again_s]
    return 2 * max(steps) / STEPS + (case.computed_s if ways.recompute else 0.0)


def test_the_longest_gaps_hold_most_of_the_think_time() -> None:
    """Against the integrals of the densities, by a fine sum over quantiles."""
    places = [(i + 0.5) / 200_000 for i in range(200_000)]
    exponential = [-log(1 - u) for u in places]
    normal = NormalDist()
    sigma = LognormalTime(kind="lognormal", mean="1 s", p95="3 s").sigma
    lognormal = [exp(sigma * normal.inv_cdf(u) - sigma**2 / 2) for u in places]
    for think, drawn in (
        (ExponentialTime(kind="exponential", mean="7 s"), exponential),
        (LognormalTime(kind="lognormal", mean="7 s", p95="21 s"), lognormal),
    ):
        share_of = share_of_longest(think)
        for share in (0.01, 0.1, 0.5, 0.9):
            longest = drawn[round((1 - share) * len(drawn)) :]
            assert share_of(share) == pytest.approx(sum(longest) / sum(drawn), rel=2e-3)
        assert (share_of(0.0), share_of(1.0), share_of(2.0)) == (0, 1, 1)
    equal = share_of_longest(ConstantTime(value="60 s"))
    assert [equal(share) for share in (0.0, 0.3, 1.0, 5.0)] == [0, 0.3, 1, 1]


def test_the_equation_that_is_shown_holds_for_the_numbers_that_are_shown() -> None:
    """With the u that it gives, the shares that are held and computed again are all there is."""
    lines = show_work(analyze(paper(residency="recompute")))
    work = next(line for line in lines if line.startswith("  recompute: hbm_size"))
    number = r"([-+.e\d]+)"
    found = re.search(
        rf"held \(u x {number} B - {number} B s of decoding\) / \({number} s x {number} B\) \+ "
        rf"computed again T\(\(u - {number} s\) / \({number} x {number} s\)\) at u = {number} s = {number} sessions/s",
        work,
    )
    assert found is not None
    pool, served, think, kept, computed, gaps, again, seconds, rate = map(float, found.groups())
    held = (seconds * pool - served) / (think * kept)
    assert held + (seconds - computed) / (gaps * again) == pytest.approx(1, abs=1e-4)
    assert rate == pytest.approx(1 / seconds, rel=1e-5)


def test_the_gap_s_prices_are_shown_as_products() -> None:
    analysis = analyze(paper(residency="swap"))
    shown = {line.partition(" = ")[0]: line.partition(" = ")[2] for line in show_work(analysis)}
    for way in ("hold", "swap"):
        products, total = shown[f"gap.{way}_usd"].rsplit(" = ", 1)
        parts = [re.sub(r"[^-+.e\d x/]", "", re.sub(r" (B/s|USD/B/s|USD/s|B|s of copies|s)(?= |$)", "", part))
                 for part in products.replace(",", "").split(" + ")]  # fmt: skip
        value = sum(_product(part) for part in parts)
        assert value == pytest.approx(float(total.removesuffix(" USD")), rel=1e-4)
        assert value == pytest.approx(analysis.keys["gap"][f"{way}_usd"], rel=1e-4)


def _product(words: str) -> float:
    """``a / b x c x d``."""
    value = 1.0
    for factor in words.split(" x "):
        top, _, bottom = factor.partition(" / ")
        value *= float(top) / float(bottom or 1)
    return value
