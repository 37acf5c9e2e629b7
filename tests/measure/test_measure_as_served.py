"""On a CPU what is timed is timed as the engine has it: after products, and copied by one thread; needs torch."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.measure import Point, serial  # noqa: E402
from ctxsim.measure.devices import Device  # noqa: E402
from ctxsim.measure.elementwise import small_kernel  # noqa: E402
from ctxsim.measure.plain_copy import copy_plain  # noqa: E402
from ctxsim.measure.products import MOST_ROWS, WIDTH, Products  # noqa: E402
from ctxsim.measure.timing import Work, time_work  # noqa: E402

CPU = Device("cpu", "a processor", "", 2**16, 1, 1, 1)


def test_something_comes_before_every_timed_call_and_is_not_timed():
    events = []
    work = Work([lambda: events.append("call")], before=lambda: (time.sleep(0.002), events.append("before")))
    found = time_work(work, "cpu", 0.01)
    timed = events[-2 * found.n_runs :]
    assert timed == ["before", "call"] * found.n_runs
    assert found.seconds < 0.001


@pytest.mark.parametrize(("rows", "computed"), [(1, 1), (5, 5), (4096, MOST_ROWS)])
def test_products_are_of_as_many_rows_as_asked_up_to_a_few(rows, computed, monkeypatch):
    made = []
    monkeypatch.setattr(torch, "mm", lambda a, b: made.append((tuple(a.shape), tuple(b.shape), b.data_ptr())))
    products = Products(CPU, rows)
    for _ in range(3):
        products.one()
    assert {(a, b) for a, b, _ in made} == {((computed, WIDTH), (WIDTH, WIDTH))}
    assert made[0][2] != made[1][2], "weights are taken in turn"


def test_attention_and_small_kernels_come_after_products_of_as_many_rows(monkeypatch):
    asked = []
    monkeypatch.setattr(Products, "__init__", lambda self, device, rows=1: asked.append(rows))
    attention = Point(
        "decode_attention", "fp32", "fp32", batch=3, heads=2, kv_heads=1, head_dim=8, new_tokens=1, past_tokens=7
    )
    norm = Point("elementwise", "fp32", m=4, n=8, moved_bytes=512, variant="norm")
    assert serial.attention(attention, CPU).before is not None
    assert small_kernel(norm, CPU).before is not None
    assert asked == [3, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_plain_copy_is_the_source_byte_by_byte_and_nothing_beside_it(dtype):
    source = torch.randn(9, 2, 3, 4).to(dtype)
    target = torch.zeros(12, 2, 3, 4, dtype=dtype)
    copy_plain(target[2:7], source[1:6])
    assert torch.equal(target[2:7], source[1:6])
    assert not target[:2].any()
    assert not target[7:].any()
