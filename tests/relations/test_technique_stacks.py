"""Techniques compose: order does not count, ratios of independent dimensions multiply, overlaps are worked out."""

from __future__ import annotations

from itertools import permutations
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from support.compare import differences
from support.real import closed_requests, scenario_of
from support.techniques import technique_file

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.explore.vary import grid_points, parse_axis
from ctxsim.sim import simulate
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.sim.journal import Journal
from ctxsim.spec import catalog
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.workload import make_source

BASE = "yi-34b-50k-a100"
GIB = 2**30
MILLION_TOKENS = 1_000_000
ALL = catalog.names("technique")
STACKS: dict[str, tuple[str, ...]] = {
    "yoco": ("yoco(window_tokens=64)", "kv-int4"),
    "cla and eviction": ("cla(layers_per_group=4)", "h2o"),
    "windows after prompts": ("streaming-llm(window_tokens=100)", "gqa(num_kv_heads=2)"),
    "heads": ("duoattention(sink_tokens=4,window_tokens=60)", "kv-int4-scale"),
    "selection": ("quest(top_k_tokens=64)", "gqa(num_kv_heads=4)"),
    "hybrid": ("gemma-like(window_tokens=80)", "h2o", "cla"),
    "latent": ("mla",),
    "latent in part": ("mla(layer_ratio=0.5)", "kv-int4"),
    "few heads in part": ("mqa(layer_ratio=0.25)", "quest(top_k_tokens=64)"),
    "a small cross-decoder": ("yoco(cross_decoder_ratio=0.25)", "gqa"),
    "a cross-decoder over full layers": ("yoco(window_tokens=1000000000)",),
}


def stack(*techniques: str, **settings: Any) -> Scenario:
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return load_scenario(BASE, {"techniques": list(techniques)} | dotted)


def refusal(*techniques: str, **settings: Any) -> str:
    with pytest.raises(SpecError) as caught:
        stack(*techniques, **settings)
    return str(caught.value)


def held(scenario: Scenario, tokens: int) -> float:
    return float(CostModel(scenario).layout.held_bytes(tokens))


@pytest.mark.parametrize("name", ALL)
def test_every_technique_is_applied_and_read_back(name: str, tmp_path: Path) -> None:
    scenario = stack(name)
    assert analyze(scenario).keys["kv_bytes_per_session"] > 0
    path = tmp_path / "again.yaml"
    path.write_text(scenario.to_yaml())
    again = load_scenario(path)
    assert (again, again.sha256, again.techniques) == (scenario, scenario.sha256, (name,))


def test_a_million_tokens_of_yi_34b() -> None:
    """physics.md section 2: 228.9 GiB; one layer of 60 3.81; 4 bits in groups of 64 on top 1.0133 and 1.0729."""
    one_group = "cla(layers_per_group=0)"
    found = [held(stack(*s), MILLION_TOKENS) for s in ((), (one_group,), (one_group, "kv-int4-scale"))]
    found.append(held(stack(one_group, "kv-int4"), MILLION_TOKENS))
    assert found == pytest.approx([245.76e9, 4.096e9, 1.088e9, 1.152e9], rel=1e-12)
    assert [f"{bytes_ / GIB:.4f}" for bytes_ in found] == ["228.8818", "3.8147", "1.0133", "1.0729"]


def test_the_order_of_writing_does_not_count() -> None:
    names = ("kv-int4", "h2o", "cla", "gqa", "streaming-llm")
    first, *others = (stack(*order) for order in list(permutations(names))[::17])
    for other in others:
        assert other == first
        assert other.sha256 == first.sha256


@pytest.mark.parametrize("left_out", ["cla", "gqa", "h2o", "kv-int4"])
def test_ratios_of_independent_dimensions_multiply(left_out: str) -> None:
    ratios = {"cla": 1 / 2, "gqa": 1 / 2, "h2o": 1 / 5, "kv-int4": 0.5625 / 2}
    names = [name for name in ratios if name != left_out]
    expected = held(stack(), 100_000)
    for name in names:
        assert held(stack(name), 100_000) == pytest.approx(ratios[name] * held(stack(), 100_000), rel=1e-12)
        expected *= ratios[name]
    assert held(stack(*names), 100_000) == pytest.approx(expected, rel=1e-12)


def test_overlaps_are_worked_out() -> None:
    """A window on eviction: the smaller of what each keeps. Windows on windows: the smaller one."""
    for tokens in (1000, 10_020, 50_000):
        both = held(stack("h2o", "streaming-llm"), tokens)
        assert both == pytest.approx(min(held(stack(one), tokens) for one in ("h2o", "streaming-llm")), rel=1e-9)
    narrow = stack("gemma-like(window_tokens=512)", "streaming-llm")
    full, sliding = 10 * 2004, 50 * 512
    assert held(narrow, 50_000) == pytest.approx((full + sliding) * 4096)


@pytest.mark.parametrize(
    ("techniques", "settings", "words"),
    [
        (("kv-int4", "kv-int4-scale"), {}, "kv-int4 changes the format of KV already; use one of them"),
        (("kv-int4",), {"serving__kv_dtype": "fp8"}, 'serving.kv_dtype is "fp8" already, and it sets "int4"'),
        (("gqa", "mla"), {}, "gqa changes the KV heads already; use one of them"),
        (("gqa",), {"model": "deepseek-v3"}, "latent rows have no KV heads to share"),
        (("mla",), {"model": "deepseek-v3"}, "deepseek-v3 has latent attention already"),
        (("cla", "yoco"), {}, "yoco changes which layers share KV already; use one of them"),
        (("yoco", "gemma-like"), {}, "gemma-like changes the mix of layers already; use one of them"),
        (("streaming-llm", "quest"), {}, "has nothing to select from (beside streaming-llm)"),
        (("h2o", "h2o(keep_ratio=0.5)"), {}, "expected each technique once, found it twice; leave one out"),
        (("mla", "duoattention"), {}, "no head can keep less of them (beside mla)"),
    ],
)
def test_contradictions_are_refused_with_the_reason(
    techniques: tuple[str, ...], settings: dict[str, Any], words: str
) -> None:
    if "model" in settings:
        settings = settings | {"deployment__tensor_parallel": 8, "serving__max_model_len": None}
    for written in permutations(techniques):
        assert words in refusal(*written, **settings)


def test_the_digest_covers_what_effects_say(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", "kind: evict, keep_ratio: 0.5")
    before = stack(path).sha256
    text = Path(path).read_text()
    Path(path).write_text(text.replace("stored: what is said", "stored: in other words"))
    assert stack(path).sha256 == before
    Path(path).write_text(text.replace("0.5", "0.25"))
    assert stack(path).sha256 != before != stack().sha256


def test_a_technique_beside_a_scenario(tmp_path: Path) -> None:
    technique_file(tmp_path, "mine", "kind: evict, keep_ratio: $keep", parameters="{keep: 0.5}")
    path = tmp_path / "s.yaml"
    path.write_text(stack().to_yaml().replace("techniques: []", 'techniques: ["./mine.yaml(keep=0.25)"]'))
    assert held(load_scenario(path), 1000) == 0.25 * held(stack(), 1000)
    moved = tmp_path / "out" / "scenario.yaml"
    moved.parent.mkdir()
    moved.write_text(load_scenario(path).to_yaml())
    assert load_scenario(moved) == load_scenario(path)


def test_a_warning_says_what_prompts_take() -> None:
    words = "a prompt of 50,000 tokens takes 12.29 GB of KV while it is computed, and 2.458 GB from then on"
    found = [w for w in analyze(stack("h2o", workload__question_tokens=0)).warnings if "while it is computed" in w]
    assert len(found) == 1
    assert words in found[0]
    assert not any("while it is computed" in w for w in analyze(stack("cla", "kv-int4")).warnings)


def test_what_no_fit_covers_is_said() -> None:
    fidelity = {"fidelity": "calibrated"}
    assert CostModel(stack("gqa", "gemma-like", "cla", **fidelity)).unpriced == CostModel(stack(**fidelity)).unpriced
    assert {"attention full decode", "attention pages decode"} <= set(CostModel(stack("quest", **fidelity)).unpriced)
    assert "attention full prefill" in CostModel(stack("yoco", **fidelity)).unpriced


def test_what_is_kept_is_read_at_measured_times() -> None:
    """Half of 40,000 tokens takes what 20,000 take, but for where the curve is drawn straight between its knots."""

    def decode_s(cost: CostModel, context: int) -> float:
        costs = cost.breakdown(cost.batch(1, context - 1))
        return float(next(c.seconds for c in costs if c.name == "attention full decode"))

    half = CostModel(stack("h2o(keep_ratio=0.5)", fidelity="calibrated"))
    whole = CostModel(stack(fidelity="calibrated"))
    for context in (2**15, 40_000):
        assert decode_s(half, context) == pytest.approx(decode_s(whole, context // 2), rel=1e-3)


@pytest.mark.parametrize("techniques", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("fidelity", ["peak", "calibrated"])
def test_costs_by_operation_sum_to_the_law(techniques: tuple[str, ...], fidelity: str) -> None:
    cost = CostModel(stack(*techniques, fidelity=fidelity))
    names = [op.name for op in cost.operations]
    assert len(set(names)) == len(names)
    for new, past in ((1, 40_000), (2048, 0), (2048, 40_000)):
        batch = cost.batch(new, past)
        assert next(iter(cost.law(batch))).first_s == pytest.approx(cost.pass_s(batch), rel=1e-9)


@pytest.mark.parametrize("techniques", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("fidelity", ["peak", "calibrated"])
def test_one_request_alone_takes_what_analyze_says(techniques: tuple[str, ...], fidelity: str) -> None:
    alone = closed_requests(
        "llama-3.1-8b", "a100-80gb-sxm", prompt=3000, output=200, techniques=list(techniques), fidelity=fidelity
    )
    keys, served = analyze(alone).keys, simulate(alone).requests
    (first_s,), (finished_s,) = served["first_token_s"], served["finished_s"]
    start_s = served["arrival_s"][0]
    assert first_s - start_s == pytest.approx(keys["first_token_s"], rel=1e-9)
    assert finished_s - start_s == pytest.approx(keys["last_token_s"], rel=1e-9)


def crowded(techniques: tuple[str, ...], seed: int) -> Scenario:
    """Prompts and answers that share iterations, on a pool that is too small for all of them."""
    workload = {
        "kind": "requests",
        "prompt_tokens": {"kind": "uniform", "min": 1, "max": 700},
        "output_tokens": {"kind": "lognormal", "mean": 60.0, "p95": 200.0, "min": 1, "max": 300},
        "arrival": {"kind": "closed", "users": 9, "think_time": "0 s"},
        "num_requests": 25,
    }
    return scenario_of(
        "llama-3.1-8b", "a100-80gb-sxm", workload, serving__max_num_seqs=8, run__seed=seed,
        serving__max_num_batched_tokens=(512, 100)[seed % 2], serving__num_gpu_blocks_override=130,
        techniques=list(techniques), fidelity=("peak", "calibrated")[seed % 2],
    )  # fmt: skip


def served(scenario: Scenario, stepping: Stepping) -> Journal:
    source = make_source(scenario.workload, scenario.run.seed)
    return Cluster(scenario, CostModel(scenario), source, stepping=stepping, keep_history=True).run()


@pytest.mark.parametrize("techniques", STACKS.values(), ids=STACKS)
def test_jumps_are_exact(techniques: tuple[str, ...]) -> None:
    for seed in (0, 1):
        scenario = crowded(techniques, seed)
        assert differences(CostModel(scenario), served(scenario, "macro"), served(scenario, "single")) == []


def turns(techniques: tuple[str, ...], blocks: int) -> Scenario:
    """Sessions whose idle KV does not fit and goes to host memory and back."""
    workload = {
        "kind": "sessions",
        "users": 5,
        "num_sessions": 8,
        "document_tokens": {"kind": "uniform", "min": 100, "max": 900},
        "rounds": 3,
        "question_tokens": 20,
        "answer_tokens": 30,
        "think_time": "1 s",
    }
    return scenario_of(
        "llama-3.1-8b", "a100-80gb-sxm", workload, serving__max_num_seqs=8, run__seed=3,
        serving__max_num_batched_tokens=256, serving__num_gpu_blocks_override=blocks, serving__residency="swap",
        serving__host_kv_capacity="1 GiB", deployment__router="session_affinity", techniques=list(techniques),
    )  # fmt: skip


@pytest.mark.parametrize("techniques", STACKS.values(), ids=STACKS)
def test_swaps_carry_what_is_kept(techniques: tuple[str, ...]) -> None:
    layout = CostModel(turns(techniques, 140)).layout
    scenario = turns(techniques, ceil(2.5 * layout.footprint_bytes(1050) / layout.block_bytes))
    jumped = served(scenario, "macro")
    assert len(jumped.transfers)
    assert differences(CostModel(scenario), jumped, served(scenario, "single")) == []


def test_stacks_are_varied() -> None:
    axis = parse_axis('techniques=[],[cla],["cla(layers_per_group=4)",kv-int4]')
    found = [load_scenario(BASE, dict(point)) for point in grid_points([axis])]
    assert [s.techniques for s in found] == [(), ("cla",), ("cla(layers_per_group=4)", "kv-int4")]
    assert "quote it where it has several" in refusal("duoattention(sink_tokens=4", "window_tokens=60)")
