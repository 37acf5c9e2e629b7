"""The running example of arXiv 2405.08944 through the shipped scenarios: every value of its formulas."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest

from ctxsim.analysis import Analysis, analyze, analyze_grid
from ctxsim.cost import CostModel
from ctxsim.spec.scenario import load_scenario

TABLE = Path(__file__).with_name("paper.csv")
ROWS = list(csv.DictReader(TABLE.read_text().splitlines()))
CONTEXTS = {"4k": 4_000, "50k": 50_000, "100k": 100_000, "200k": 200_000, "1m": 1_000_000}
PFLOP, GIB = 1e15, 2.0**30

# physics.md section 1 as it prints them: rounded to as many digits as stand here.
PRINTED = {
    "kv_gib": ("0.916", "11.44", "22.89", "45.78", "228.9"),
    "prefill_pflop": ("0.280", "4.629", "11.72", "33.26", "559.5"),
    "prefill_s": ("0.897", "14.84", "37.5", "106.6", "1793"),
    "decode_answer_s": ("8.62", "10.04", "11.57", "14.64", "39.2"),
    "switch_s": ("0.098", "1.229", "2.458", "4.915", "24.6"),
    "concurrent_sessions": ("18.21", "1.457", "0.728", "0.364", "0.0728"),
}


@cache
def analysed(scenario: str, overrides: str = "") -> Analysis:
    pairs = (pair.split("=") for pair in overrides.split(";") if pair)
    return analyze(load_scenario(scenario, dict(pairs)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['scenario']} {row['overrides']} {row['key']}")
def test_formulas(row: dict[str, str]) -> None:
    found = analysed(row["scenario"], row["overrides"]).keys[row["key"]]
    assert found == pytest.approx(float(row["expected"]), rel=float(row["tolerance"]), abs=0), row["source"]


def in_table_units(quantity: str, keys: dict[str, float]) -> float:
    if quantity == "kv_gib":
        return keys["kv_bytes_per_session"] / GIB
    return keys["prefill_flop"] / PFLOP if quantity == "prefill_pflop" else keys[quantity]


@pytest.mark.parametrize("quantity", PRINTED)
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_reference_table_to_every_digit_it_prints(quantity: str, context: str) -> None:
    printed = PRINTED[quantity][list(CONTEXTS).index(context)]
    decimals = len(printed.partition(".")[2])
    found = in_table_units(quantity, analysed(f"paper-34b-{context}").keys)
    assert f"{found:.{decimals}f}" == printed


@pytest.mark.parametrize(("ranks", "sessions"), [(1, "1.457"), (2, "8.447"), (4, "22.43"), (8, "50.39")])
def test_sessions_of_50k_on_1_2_4_8_accelerators(ranks: int, sessions: str) -> None:
    """physics.md prints 1.46, 8.45, 22.43, 50.39; weights are stored once, so they grow by more than g."""
    found = analysed("paper-34b-50k", f"deployment.tensor_parallel={ranks}").keys["concurrent_sessions"]
    assert f"{found:.{len(sessions.partition('.')[2])}f}" == sessions


def test_two_accelerators_from_4k_to_100k() -> None:
    found = [
        analysed(f"paper-34b-{c}", "deployment.tensor_parallel=2").keys["concurrent_sessions"] for c in ("4k", "100k")
    ]
    assert [f"{found[0]:.1f}", f"{found[1]:.2f}"] == ["105.6", "4.22"]


@pytest.mark.parametrize(
    ("context", "feasible"), [("4k", True), ("50k", True)] + [(c, False) for c in ("100k", "200k", "1m")]
)
def test_long_contexts_do_not_fit_one_a100_and_still_have_every_other_key(context: str, feasible: bool) -> None:
    keys = analysed(f"paper-34b-{context}").keys
    assert keys["feasible"] == feasible
    beside = {"infeasible_reason"} if not feasible else set()
    assert set(keys) - beside == set(analysed("paper-34b-50k").keys)
    assert None not in keys.values()


@pytest.mark.parametrize(
    ("context", "kv", "accelerators"), [("100k", "24.58 GB", 2), ("200k", "49.15 GB", 2), ("1m", "245.8 GB", 4)]
)
def test_the_reason_names_need_rest_and_remedy(context: str, kv: str, accelerators: int) -> None:
    expected = f"one session needs {kv} of KV cache, 17.9 GB are left for it: at least {accelerators} accelerators"
    assert analysed(f"paper-34b-{context}").keys["infeasible_reason"] == expected
    enough = analysed(f"paper-34b-{context}", f"deployment.tensor_parallel={accelerators}")
    assert enough.feasible


YI_WIDTH = """
name: paper-34b-yi-width
source: arXiv 2405.08944 with the hidden size of Yi-34B, 56 heads of 128
num_parameters: 34e9
num_layers: 60
hidden_size: 7168
max_context_tokens: 1000000
attention: {kind: full, num_heads: 56, num_kv_heads: 8, head_dim: 128}
"""


def even_tokens(cost: CostModel) -> int:
    """The first context whose attention FLOP are no fewer than its weight FLOP, found by halving."""
    low, high = 1, 1_000_000
    while low < high:
        tokens = (low + high) // 2
        flop = {c.name: c.flop for c in cost.breakdown(cost.batch(tokens, 0))}
        low, high = (low, tokens) if flop["attention full"] >= flop["weights"] else (tokens + 1, high)
    return low


def test_where_quadratic_flop_overtake_linear_flop(tmp_path: Path) -> None:
    """2 P s = 2 L s^2 H at s = P / (L H): 138K tokens with the paper's width, 79K with Yi's own."""
    path = tmp_path / "yi-width.yaml"
    path.write_text(YI_WIDTH)
    paper = CostModel(load_scenario("paper-34b-50k"))
    yi = CostModel(load_scenario("paper-34b-50k", {"model": str(path)}))
    assert even_tokens(paper) == 138_347  # 34e9 / (60 x 4096) = 138,346.4
    assert even_tokens(yi) == 79_056  # 34e9 / (60 x 7168) = 79,055.1


def test_what_context_does_to_each_quantity() -> None:
    """Concurrency falls as 1 / s, switching grows as s, decode linearly but slowly, prefill with the square."""
    s = CONTEXTS.values()
    grid = analyze_grid(load_scenario("paper-34b-1m"), document_tokens=list(s))
    assert (grid["concurrent_sessions"] * list(s)).tolist() == pytest.approx([72_832.625] * 5, rel=1e-9)
    assert (grid["switch_s"] / list(s)).tolist() == pytest.approx([2 * 245_760 / 20e9] * 5, rel=1e-12)
    steps = grid["decode_step_s"] - 0.034
    assert (steps / list(s)).tolist() == pytest.approx([245_760 / 2e12] * 5, rel=1e-9)
    per_token = grid["prefill_s"] / list(s) - 68e9 / 312e12
    assert (per_token / list(s)).tolist() == pytest.approx([2 * 60 * 4096 / 312e12] * 5, rel=1e-9)


def test_a_million_tokens_are_two_thousand_times_the_prefill_of_4k() -> None:
    """physics.md section 2: no KV compression that acts after prefill changes this."""
    ratio = analysed("paper-34b-1m").keys["prefill_s"] / analysed("paper-34b-4k").keys["prefill_s"]
    assert round(ratio, -2) == 2000
    kv = analysed("paper-34b-1m").keys["kv_bytes_per_session"] / analysed("paper-34b-4k").keys["kv_bytes_per_session"]
    assert kv == 250


def test_every_row_names_its_source() -> None:
    assert len(ROWS) > 80
    assert all(row["source"].startswith("physics.md") for row in ROWS)
