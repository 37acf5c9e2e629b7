"""All-reduces of tensor parallelism: bytes each rank sends and seconds on the one-way link, by hand."""

from __future__ import annotations

import pytest
from cost_scenarios import MODELS, cost_model, most_ranks

from ctxsim.cost import CostModel, OperationCost


def all_reduce(cost: CostModel, new: int, past: int = 0, sequences: int = 1) -> OperationCost | None:
    found = [c for c in cost.breakdown(cost.batch(new, past, sequences=sequences)) if c.name == "all_reduce"]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("name", "hardware", "ranks", "layers", "hidden", "reductions", "link_bytes_per_s"),
    [
        ("llama-3.1-70b", "h100-80gb-sxm", 8, 80, 8192, 2, 450e9),
        ("llama-3.1-70b", "h100-80gb-sxm", 2, 80, 8192, 2, 450e9),
        ("llama-3.1-8b", "a100-80gb-sxm", 4, 32, 4096, 2, 300e9),
        ("deepseek-v3", "h200-sxm", 8, 61, 7168, 2, 450e9),
        ("jamba-1.5-mini", "mi300x", 4, 32, 4096, 2, 448e9),
        ("falcon-40b", "a100-80gb-sxm", 4, 60, 8192, 1, 300e9),  # attention and feed-forward side by side: one sum
        ("command-r", "a100-80gb-sxm", 4, 40, 8192, 1, 300e9),
    ],
)
def test_bytes_and_seconds(
    name: str, hardware: str, ranks: int, layers: int, hidden: int, reductions: int, link_bytes_per_s: float
) -> None:
    """A ring sends 2 (g - 1) / g of the activations: tokens x hidden x 2 B, once or twice a layer."""
    cost = cost_model(name, hardware, deployment__tensor_parallel=ranks)
    for new, sequences in ((2048, 1), (1, 64)):
        found = all_reduce(cost, new, 100, sequences)
        sent = 2 * (ranks - 1) / ranks * new * sequences * hidden * 2 * reductions * layers
        assert found is not None
        assert found.link_bytes == pytest.approx(sent, rel=1e-15)
        assert found.seconds == found.link_s == pytest.approx(sent / link_bytes_per_s, rel=1e-12)
        assert found.bound == "link"
        assert (found.flop, found.hbm_bytes) == (0, 0)


@pytest.mark.parametrize("name", MODELS)
def test_one_accelerator_sends_nothing(name: str) -> None:
    assert all_reduce(cost_model(name, "h100-80gb-sxm"), 2048) is None


@pytest.mark.parametrize("name", [m for m in MODELS if most_ranks(m) > 1])
def test_the_paper_s_collectives_are_free_but_counted(name: str) -> None:
    cost = cost_model(name, "paper-a100", deployment__tensor_parallel=most_ranks(name))
    found = all_reduce(cost, 2048)
    assert found is not None
    assert found.link_bytes > 0
    assert found.link_s == found.seconds == 0


@pytest.mark.parametrize("name", [m for m in MODELS if most_ranks(m) > 1])
def test_the_pass_includes_the_link(name: str) -> None:
    """The same ranks without and with a link differ by its seconds, in the breakdown and in the law."""
    cost = cost_model(name, "h100-80gb-sxm", deployment__tensor_parallel=most_ranks(name))
    batch = cost.batch(2048, 4096)
    found = all_reduce(cost, 2048, 4096)
    roofline_s = sum(max(c.compute_s, c.hbm_s) for c in cost.breakdown(batch))
    assert found is not None
    assert found.link_s > 0
    assert cost.pass_s(batch) == pytest.approx(roofline_s + found.link_s, rel=1e-12)
    assert cost.law(batch)[0].first_s == pytest.approx(roofline_s + found.link_s, rel=1e-12)
