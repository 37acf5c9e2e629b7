"""The law of an iteration: it equals the breakdown, and its pieces equal pricing every iteration on its own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cost_scenarios import MODELS, after, cost_model, mixed, most_ranks, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.cost import CostModel, Operation, Piece, Rates, RooflineLaw, course_s
from ctxsim.geometry import UNBOUNDED, BatchTotals

REL = 1e-12
LOOKED_AT = 60
"""Iterations of a run that are priced one by one."""

LONGEST_RUN = 10**9

MACHINES = ("paper-a100", "h100-80gb-sxm")

sequences = st.lists(
    st.tuples(st.one_of(st.just(1), st.integers(1, 64)), st.integers(0, 20_000)), min_size=1, max_size=6
)


def served(name: str, machine: str = "h100-80gb-sxm", overhead: str = "300 us") -> CostModel:
    """A model on all ranks that divide its heads, with a fixed host overhead."""
    ranks = most_ranks(name)
    return cost_model(name, machine, deployment__tensor_parallel=ranks, serving__iteration_overhead=overhead)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("overhead", ["0 s", "300 us"])
@pytest.mark.parametrize("batch", [(1, 4_999), (1, 0), (2048, 10_000), (50_000, 0)])
def test_breakdown_sums_to_the_pass(name: str, overhead: str, batch: tuple[int, int]) -> None:
    cost = served(name, overhead=overhead)
    totals = cost.batch(*batch)
    costs = cost.breakdown(totals)
    fixed_s = cost.scenario.serving.iteration_overhead
    assert fixed_s == (0.0003 if overhead == "300 us" else 0.0)
    assert fixed_s + sum(c.seconds for c in costs) == pytest.approx(cost.pass_s(totals), rel=REL)
    assert sum(c.flop for c in costs) == pytest.approx(cost.flop(totals), rel=REL)
    assert sum(c.hbm_bytes for c in costs) == pytest.approx(cost.hbm_bytes(totals), rel=REL)


@pytest.mark.parametrize("name", MODELS)
def test_every_operation_is_a_roofline(name: str) -> None:
    cost = served(name)
    for c in cost.breakdown(cost.batch(2048, 10_000)):
        assert c.seconds == max(c.compute_s, c.hbm_s) + c.link_s
        times = {"compute": c.compute_s, "hbm": c.hbm_s, "link": c.link_s}
        assert times[c.bound] == max(times.values())
        assert c.hbm_s == c.hbm_bytes / cost.rates.hbm_bytes_per_s


@pytest.mark.parametrize("name", MODELS)
@given(batch=sequences)
@settings(max_examples=8, deadline=None)
def test_the_first_iteration_of_the_law_is_the_pass(name: str, batch: list[tuple[int, int]]) -> None:
    cost = served(name)
    totals, _ = repeated(cost.spans, batch)
    assert cost.law(totals)[0].first_s == pytest.approx(cost.pass_s(mixed(cost.spans, batch)), rel=REL)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("machine", MACHINES)
@given(batch=sequences)
@settings(max_examples=4, deadline=None)
def test_pieces_price_every_iteration(name: str, machine: str, batch: list[tuple[int, int]]) -> None:
    """Iteration k costs first + (k - start) growth, whatever the batch has become by then."""
    cost = served(name, machine)
    totals, until = repeated(cost.spans, batch)
    pieces = cost.law(totals)
    total_s = 0.0
    for k in range(min(until, LOOKED_AT)):
        alone_s = cost.pass_s(mixed(cost.spans, after(batch, k)))
        assert priced(pieces, k) == pytest.approx(alone_s, rel=REL)
        total_s += alone_s
        assert course_s(pieces, k + 1) == pytest.approx(total_s, rel=REL)


def priced(pieces: list[Piece], iteration: int) -> float:
    start = 0
    for piece in pieces:
        if iteration < piece.until:
            return piece.first_s + (iteration - start) * piece.growth_s
        start = piece.until
    raise AssertionError("the last piece is bounded")


def turns(pieces: list[Piece]) -> list[int]:
    """Iterations at which a piece ends; lines that differ by rounding alone cross beyond any real run."""
    return [piece.until for piece in pieces if piece.until < LONGEST_RUN]


@pytest.mark.parametrize(("chunk", "ends"), [(38, []), (39, []), (41, [10]), (43, [5]), (45, [3]), (77, [1]), (80, [])])
def test_a_kernel_that_turns_compute_bound_ends_a_piece(chunk: int, ends: list[int]) -> None:
    """Attention of c new tokens over four query heads a KV head: 4 c FLOP a byte of the past, half that of its own.

    With r = 4 c / 156 the sides meet at past = c (1 - r / 2) / (r - 1): never for r <= 1, at once for r >= 2.
    """
    cost = cost_model()
    pieces = cost.law(repeated(cost.spans, [(chunk, 0)])[0])
    assert turns(pieces) == ends
    for k in range(200):
        assert priced(pieces, k) == pytest.approx(cost.pass_s(cost.batch(chunk, k * chunk)), rel=REL)


def test_kernels_cross_at_most_once_each_and_pieces_stand_in_order() -> None:
    crossed = 0
    for name in MODELS:
        cost = cost_model(name)
        for chunk in range(2, 200, 3):
            pieces = cost.law(repeated(cost.spans, [(chunk, 0)])[0])
            assert pieces[-1].until == UNBOUNDED
            assert all(a.until < b.until for a, b in pairwise(pieces))
            assert len(turns(pieces)) <= sum(op.span is not None for op in cost.operations)
            crossed += bool(turns(pieces))
    assert crossed > len(MODELS)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10), st.floats(0, 1)), max_size=5), st.integers(0, 400))
def test_a_course_is_the_sum_of_its_iterations(drawn: list[tuple[int, float, float]], iterations: int) -> None:
    pieces, until = [], 0
    for lasts, first_s, growth_s in drawn:
        until += lasts
        pieces.append(Piece(until, first_s, growth_s))
    pieces.append(Piece(UNBOUNDED, 1.0, 0.25))
    assert course_s(pieces, iterations) == pytest.approx(sum(priced(pieces, k) for k in range(iterations)), abs=1e-9)


def test_remembered_sums_are_kept_apart_by_tokens_and_sequences() -> None:
    """The same law asked in any order answers the same: 7 tokens of one sequence are not 7 sequences."""
    cost = CostModel(cost_model("llama-3.1-8b").scenario)
    batches = [[(7, 0)], [(1, 0)] * 7, [(3, 0), (4, 0)], [(8, 0)]]
    asked = [cost.law(repeated(cost.spans, b)[0])[0].first_s for b in batches]
    fresh = [CostModel(cost.scenario).pass_s(mixed(cost.spans, b)) for b in batches]
    assert asked == pytest.approx(fresh, rel=REL)
    assert asked == [cost.law(repeated(cost.spans, b)[0])[0].first_s for b in batches]


@pytest.mark.parametrize(
    "operation",
    [
        Operation("per pair", 10.0, span=0, flop_per_pair=3.0),
        Operation("per touched", 10.0, span=0, flop_per_touched=5.0),
        Operation("both and bytes", 10.0, span=0, flop_per_pair=1.0, flop_per_touched=5.0, bytes_per_touched=9.0),
        Operation("kernel in a product", 10.0, 7.0, span=0, flop_per_touched=5.0, bytes_per_pass=50.0),
        Operation("product", 10.0, flop_per_token=2.0, bytes_per_pass=50.0),
        Operation("sends what it computed", 10.0, flop_per_token=2.0, link_bytes_per_token=4.0),
    ],
    ids=lambda op: op.name,
)
def test_every_amount_of_an_operation_is_priced(operation: Operation) -> None:
    """One operation alone, five iterations: the longer of FLOP at 10/s and bytes at 20/s, plus the link at 8/s."""
    law = RooflineLaw((operation,), Rates(10.0, 10.0, 20.0, 8.0), 0.5)
    batch = BatchTotals(2, 3, 0, [11.0], [4.0], [13.0], [6.0])
    pieces = law(batch)
    for k in range(5):
        now = BatchTotals(2, 3, 0, [11.0 + 4 * k], [0.0], [13.0 + 6 * k], [0.0])
        seconds = max(operation.flop(now) / 10, operation.hbm_bytes(now) / 20) + operation.link_bytes(now) / 8
        assert priced(pieces, k) == pytest.approx(0.5 + seconds, rel=REL)


def test_an_empty_batch_costs_the_weights() -> None:
    """The paper's model reads 68 GB at 2 TB/s whatever the batch."""
    cost = cost_model()
    empty = BatchTotals(0, 0, 0, [0.0], [0.0], [0.0], [0.0])
    assert cost.pass_s(empty) == 68e9 / 2e12
    assert cost.law(empty) == [(UNBOUNDED, 68e9 / 2e12, 0.0)]


@pytest.mark.parametrize(
    ("machine", "critical"), [("paper-a100", 156), ("h100-80gb-sxm", 295), ("h200-sxm", 206), ("b200-sxm", 281)]
)
def test_weight_products_turn_compute_bound_at_the_ridge(machine: str, critical: int) -> None:
    """b tokens make b FLOP a byte of bf16 weights, so the ridge point of the machine is the critical batch."""
    cost = cost_model("llama-3.1-8b", machine)

    def mlp_bound(tokens: int) -> str:
        return next(c.bound for c in cost.breakdown(cost.batch(1, 999, sequences=tokens)) if c.name == "mlp")

    assert mlp_bound(critical - 1) == "hbm"
    assert mlp_bound(critical + 1) == "compute"


def test_decode_attention_stays_memory_bound_whatever_the_batch() -> None:
    """4 query heads a KV head make about 4 FLOP a byte, far below any ridge, as KV reads are never shared."""
    cost = cost_model("llama-3.1-8b")
    for sequences_ in (1, 64, 4096):
        batch = cost.breakdown(cost.batch(1, 49_999, sequences=sequences_))
        attention = next(c for c in batch if c.name == "attention full")
        assert attention.bound == "hbm"
        assert attention.flop / attention.hbm_bytes == pytest.approx(4, rel=1e-4)
