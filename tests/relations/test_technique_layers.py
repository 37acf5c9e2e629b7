"""Techniques that change a part of the layers: amounts and times lie between none and all, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.calibrations import calibrated
from support.techniques import applied

from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.spec.model import Attention, LatentAttention, Layer
from ctxsim.spec.scenario import Scenario, load_scenario

YI = "yi-34b-200k"  # 60 layers
IN_PART = ("mqa", "gqa", "mla", "memoryformer")


def stack(*techniques: str, **settings: Any) -> Scenario:
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return load_scenario("yi-34b-50k-a100", {"techniques": list(techniques)} | dotted)


def refusal(*techniques: str, **settings: Any) -> str:
    with pytest.raises(SpecError) as caught:
        stack(*techniques, **settings)
    return str(caught.value)


def changed(technique: str, model: str = YI) -> list[int]:
    """Numbers of the layers that it changes, from the lowest."""
    before, after = applied(model).subject.model, applied(model, technique).subject.model
    return [i for i, (one, other) in enumerate(zip(before.layers, after.layers, strict=True)) if one != other]


AMOUNTS: dict[str, Callable[[CostModel], float]] = {
    "weights": lambda cost: cost.memory.weight_bytes,
    "KV": lambda cost: float(cost.layout.held_bytes(50_000)),
    "FLOP of a prompt": lambda cost: float(cost.flop(cost.batch(30_000, 0))),
    "FLOP of a step": lambda cost: float(cost.flop(cost.batch(1, 30_000))),
    "bytes of a step": lambda cost: float(cost.hbm_bytes(cost.batch(1, 30_000))),
}


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", IN_PART)
def test_each_layer_costs_what_it_does_among_its_like(name: str, ranks: int) -> None:
    """A quarter of 60 layers: three quarters of the amounts without the technique and a quarter of those with it."""
    none, part, all_ = (
        CostModel(stack(*s, deployment__tensor_parallel=ranks)) for s in ((), (f"{name}(layer_ratio=0.25)",), (name,))
    )
    for amount in AMOUNTS.values():
        assert amount(part) == pytest.approx(0.75 * amount(none) + 0.25 * amount(all_), rel=1e-12)


@pytest.mark.parametrize("beside", [("calm",), ("weights-int8", "kv-int8", "h2o"), ("context-parallel", "matformer")])
@pytest.mark.parametrize("name", ["mqa", "gqa", "mla"])
def test_so_it_does_beside_other_techniques(name: str, beside: tuple[str, ...]) -> None:
    none, part, all_ = (CostModel(stack(*beside, *s)) for s in ((), (f"{name}(layer_ratio=0.25)",), (name,)))
    for amount in AMOUNTS.values():
        assert amount(part) == pytest.approx(0.75 * amount(none) + 0.25 * amount(all_), rel=1e-12)


@pytest.mark.parametrize(("new", "past"), [(1, 40_000), (2048, 0), (2048, 40_000)])
@pytest.mark.parametrize("fidelity", ["peak", "calibrated"])
@pytest.mark.parametrize("name", IN_PART)
def test_so_do_times(name: str, fidelity: str, new: int, past: int) -> None:
    """No product is left out or counted twice where layers of both kinds have one of that name."""

    def seconds(*techniques: str) -> float:
        cost = CostModel(calibrated(stack(*techniques)) if fidelity == "calibrated" else stack(*techniques))
        return float(cost.pass_s(cost.batch(new, past)))

    part = seconds(f"{name}(layer_ratio=0.25)")
    assert part == pytest.approx(0.75 * seconds() + 0.25 * seconds(name), rel=1e-9)


def test_rows_are_expanded_by_the_kernel_of_latent_layers() -> None:
    """Where prompts and decode are told apart, windows that come first in the stack are not taken for it: two groups
    each expand all rows of 5,000 tokens, not those of a window."""

    def flop(groups: int) -> float:
        cost = CostModel(
            stack("mla", model="gemma-3-27b", serving__max_model_len=None, deployment__context_parallel=groups)
        )
        return float(next(c.flop for c in cost.breakdown(cost.batch(5000, 0)) if c.name == "mla_kv_up"))

    assert flop(2) == 2 * flop(1)


def test_layers_that_change_are_spread_evenly() -> None:
    for name in IN_PART:
        assert changed(f"{name}(layer_ratio=0.25)") == list(range(3, 60, 4))
        assert changed(f"{name}(layer_ratio=0.75)") == [i for i in range(60) if i % 4]
        assert changed(f"{name}(layer_ratio=0.01)") == [59]
        assert changed(f"{name}(layer_ratio=0.03)") == [29, 59]
        assert changed(name) == list(range(60))


def test_a_share_is_of_the_layers_that_can_change() -> None:
    """Gemma 3 27B: 10 of 62 layers are full, every sixth."""
    full = list(range(5, 62, 6))
    assert changed("mla", "gemma-3-27b") == full
    assert changed("mla(layer_ratio=0.5)", "gemma-3-27b") == full[1::2]


@pytest.mark.parametrize(("ratio", "upper"), [(0.25, 15), (0.5, 30), (0.51, 31), (59 / 60, 59)])
def test_a_cross_decoder_of_any_size(ratio: float, upper: int) -> None:
    model = applied(YI, f"yoco(cross_decoder_ratio={ratio})").subject.model
    assert [layer.last_token_only for layer in model.layers] == [False] * (60 - upper) + [True] * upper
    kept = [layer for layer in model.layers[60 - upper :] if layer.keeps_kv]
    assert len(kept) == 1
    assert sum(matrix.operation == "global_kv" for layer in model.layers for matrix in layer.matrices) == 1


def test_without_a_cross_decoder_there_are_windows_alone() -> None:
    assert (
        applied(YI, "yoco(cross_decoder_ratio=0)").subject.model
        == applied(YI, "sliding-window(window_tokens=1024)").subject.model
    )


def test_under_a_cross_decoder_all_may_be_kept() -> None:
    """A window as long as what is served leaves the lower layers but for the projection of the KV above them."""
    before, after = applied(YI).subject.model, applied(YI, "yoco(window_tokens=200000)").subject.model
    assert after.layers[:29] == before.layers[:29]
    (more,) = set(after.layers[29].mixer.matrices) - set(before.layers[29].mixer.matrices)
    assert (more.operation, more.parameters) == ("global_kv", 14_680_064)


@pytest.mark.parametrize(
    ("techniques", "words"),
    [
        (("cla", "mqa(layer_ratio=0.5)"), "share their KV, so all change or none: expected layer_ratio 1, found 0.5"),
        (("cla", "mla(layer_ratio=0.5)"), "share their KV, so all change or none: expected layer_ratio 1, found 0.5"),
        (("yoco", "gqa(layer_ratio=0.5)"), "expected layer_ratio 1, found 0.5 (beside yoco)"),
        (("mla(layer_ratio=0.5)", "duoattention"), "no head can keep less of them (beside mla)"),
        (("gqa(layer_ratio=0.5)", "mla(layer_ratio=0.5)"), "gqa changes the KV heads already; use one of them"),
        (("calm", "memoryformer(layer_ratio=0.5)"), "expected null beside a decoder-decoder or tables"),
        (("matformer-draft", "memoryformer(layer_ratio=0.5)"), "expected a model whose feed-forward layers are dense"),
        (("yoco(cross_decoder_ratio=0.99)",), "found all 60 of yi-34b-200k above it; lower cross_decoder_ratio"),
        (("yoco(cross_decoder_ratio=1)",), "cross_decoder_ratio: expected a number below 1, found 1"),
        (("mqa(layer_ratio=1.5)",), "layer_ratio: expected a number of at most 1, found 1.5"),
        (("mla(layer_ratio=-1)",), "layer_ratio: expected a number of at least 0, found -1"),
        (("memoryformer(layer_ratio=two)",), "layer_ratio: expected a number, found"),
        (("triforce(draft_tokens=0,acceptance=2)",), "acceptance: expected a number of at most 1, found 2"),
        (("calm(depth_ratio=2)",), "depth_ratio: expected a number of at most 1, found 2"),
        (("combiner(region_tokens=0)",), "region_tokens: expected a number of at least 1, found 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(techniques: Sequence[str], words: str) -> None:
    assert words in refusal(*techniques)
    assert words in refusal(*reversed(techniques))


def test_layers_of_both_kinds_stay_as_they_are() -> None:
    def kinds(*techniques: str) -> list[type[object]]:
        return [type(layer.mixer) for layer in applied(YI, *techniques).subject.model.layers]

    assert kinds("mla(layer_ratio=0.5)", "h2o", "kv-fp8") == [Attention, LatentAttention] * 30
    heads = [heads_of(layer) for layer in applied(YI, "mqa(layer_ratio=0.5)", "duoattention").subject.model.layers]
    # Half of 8 heads keep a window; half of one, rounded up, is that one, which keeps everything.
    assert heads == [(8, 4), (1, 0)] * 30


def heads_of(layer: Layer) -> tuple[int, int]:
    """KV heads of a layer, and how many of them keep a window."""
    assert isinstance(layer.mixer, Attention)
    window = layer.mixer.keeping.head_window
    return layer.mixer.num_kv_heads, 0 if window is None else window.kv_heads
