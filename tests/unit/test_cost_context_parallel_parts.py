"""What each group of a divided replica does again, and what is divided: latent rows, last tokens, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from support.real import closed_requests

from ctxsim.cost import CostModel
from ctxsim.cost.context_parallel import Exchange
from ctxsim.cost.operations import Operation


def costs(model: str, groups: int, ranks: int = 1, **settings: object) -> CostModel:
    deployed = {"deployment__context_parallel": groups, "deployment__tensor_parallel": ranks}
    return CostModel(closed_requests(model, "h100-80gb-sxm", **deployed, **settings))


def operation(cost: CostModel, name: str) -> Operation:
    (found,) = (op for op in cost.operations if op.name == name)
    return found


def test_every_group_expands_all_latent_rows_of_a_prompt() -> None:
    """DeepSeek-V3: 61 layers expand rows of 512 values to keys and values of 128 heads of 128 each."""
    groups, new, past = 4, 2048, 30_000
    one, four = costs("deepseek-v3", 1), costs("deepseek-v3", groups)
    product_flop = 2 * 61 * 512 * 128 * (128 + 128)
    for cost, times in ((one, 1), (four, groups)):
        up = operation(cost, "mla_kv_up")
        assert up.flop(cost.batch(new, past)) == times * product_flop * (new + past)
        # Decode absorbs the product: once for its new token, wherever that lies.
        assert up.flop(cost.batch(1, past)) == product_flop
    # What is computed with the rows is divided.
    kernels = [operation(cost, "attention latent prefill") for cost in (one, four)]
    assert kernels[0].flop(one.batch(new, past)) == kernels[1].flop(four.batch(new, past))


def test_one_query_to_a_whole_prompt_is_answered_where_its_kv_lies() -> None:
    """The upper half of a decoder-decoder: prompts' last tokens alone, so nothing is sent and KV is read once."""
    one, two = (costs("llama-3.1-8b", groups, 2, techniques=["yoco"]) for groups in (1, 2))
    for cost in (one, two):
        kernel, batch = operation(cost, "attention full prefill"), cost.batch(2048, 30_000)
        assert kernel.reader is None
        # Of 8 KV heads keys and values of 128, bf16, in each of 16 layers; by 32 query heads.
        assert kernel.hbm_bytes(batch) == 32_048 * 16 * 2 * 8 * 128 * 2
        assert kernel.flop(batch) == 32_048 * 16 * 2 * 32 * 256


def test_last_tokens_are_reduced_whole_and_the_others_in_parts() -> None:
    """Ring all-reduces over two ranks send 2 x 1/2 of 4096 bf16 values, twice a layer: half of them of last tokens."""
    one, two = (costs("llama-3.1-8b", groups, 2, techniques=["yoco"]) for groups in (1, 2))
    row_bytes, tokens = 2 * 16 * 4096 * 2, 2048
    batch = one.batch(tokens, 0)
    for cost, groups in ((one, 1), (two, 2)):
        assert operation(cost, "all_reduce").link_bytes(batch) == tokens * row_bytes / groups
        assert operation(cost, "all_reduce last").link_bytes(batch) == row_bytes


def test_tokens_that_leave_early_leave_every_group() -> None:
    """At half the depth: half the sums over two ranks for a decoding token, half of what each of two groups reads."""
    half = {"serving__early_exit": {"depth_ratio": 0.5}}
    one, two = (costs("llama-3.1-8b", groups, 2, **half) for groups in (1, 2))
    row_bytes, whole = 2 * 32 * 4096 * 2, 32 * 3 * 4096 * 14_336 * 2
    for cost, groups in ((one, 1), (two, 2)):
        reduce, mlp = operation(cost, "all_reduce"), operation(cost, "mlp")
        assert reduce.link_bytes(cost.batch(2048, 0)) == pytest.approx(2048 * row_bytes / groups, rel=1e-9)
        assert reduce.link_bytes(cost.batch(1, 9)) == pytest.approx(row_bytes / 2, rel=1e-9)
        assert mlp.streamed_bytes(2048, 0) == groups * whole
        assert mlp.streamed_bytes(1, 1) == pytest.approx(groups * whole / 2, rel=1e-9)


def test_kv_that_is_sent_comes_at_the_slower_of_link_and_memory() -> None:
    exchange = Exchange(10.0)
    assert [exchange.bytes_per_s(1, hbm) for hbm in (5.0, 20.0)] == [5.0, 10.0]
    assert exchange.bytes_per_s(np.array([1, 1]), np.array([5.0, 20.0])).tolist() == [5.0, 10.0]
    assert [exchange.waits_for(hbm) for hbm in (5.0, 10.0, 20.0)] == ["", "", "link"]
