"""On a CPU what is timed is timed as the engine has it: after products, and copied by one thread; needs torch."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from types import MethodType

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.measure import Point, host_copies, serial  # noqa: E402
from ctxsim.measure.devices import Device  # noqa: E402
from ctxsim.measure.elementwise import small_kernel  # noqa: E402
from ctxsim.measure.operands import noise  # noqa: E402
from ctxsim.measure.pages import pages  # noqa: E402
from ctxsim.measure.passes import small_passes  # noqa: E402
from ctxsim.measure.plain_copy import copy_plain  # noqa: E402
from ctxsim.measure.products import MOST_ROWS, WIDTH, Products  # noqa: E402
from ctxsim.measure.run import timed  # noqa: E402
from ctxsim.measure.small_decoder import small_decoder  # noqa: E402
from ctxsim.measure.stores import kv_store  # noqa: E402
from ctxsim.measure.swapping import copier_of  # noqa: E402
from ctxsim.measure.timing import Work, time_work  # noqa: E402
from ctxsim.measure.transformer import Transformer  # noqa: E402

needs_policies = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux alone has the idle policy")

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
        products.pass_by()
    assert {(a, b) for a, b, _ in made} == {((computed, WIDTH), (WIDTH, WIDTH))}
    assert made[0][2] != made[1][2], "weights are taken in turn"


def test_more_passes_by_than_the_cache_has(monkeypatch):
    """Weights of 16 MiB beside a cache of 32 MiB: three of them, none of which was there before."""
    made = []
    monkeypatch.setattr(torch, "mm", lambda a, b: made.append(b.data_ptr()))
    Products(Device("cpu", "a processor", "", 2**25, 1, 1, 1)).pass_by()
    assert len(made) == len(set(made)) == 3


def test_attention_and_small_kernels_come_after_products_of_as_many_rows(monkeypatch):
    asked = []
    monkeypatch.setattr(Products, "__init__", lambda self, device, rows=1: asked.append(rows))
    attention = Point(
        "decode_attention", "fp32", "fp32", batch=3, heads=2, kv_heads=1, head_dim=8, new_tokens=1, past_tokens=7
    )
    norm = Point("elementwise", "fp32", m=4, n=8, moved_bytes=512, variant="norm")
    for work in (serial.attention(attention, CPU), small_kernel(norm, CPU)):
        assert isinstance(work.before, MethodType)
        assert work.before.__func__ is Products.pass_by
    assert asked == [3, 4]


def test_what_stays_begins_where_a_page_begins():
    """Whatever the process had before: weights, KV and operands; other values of a tensor lie as in any."""
    memory = [torch.empty(10**6 + 64 * i) for i in range(9)]
    del memory[::2]
    for shape, dtype in (((3, 2**17), torch.bfloat16), ((2**20 + 1,), torch.float32), ((5, 2**16), torch.uint8)):
        made = pages(shape, dtype, torch.device("cpu"))
        assert (tuple(made.shape), made.dtype, made.is_contiguous()) == (shape, dtype, True)
        assert made.data_ptr() % mmap.PAGESIZE == 0
        made.fill_(1)
        assert bool((made == 1).all())
    assert noise((2**18,), "fp32", torch.device("cpu")).data_ptr() % mmap.PAGESIZE == 0
    model = Transformer(small_decoder(256, 512, 1, (4, 2), 512), torch.device("cpu"), torch.float32, 64, 0)
    assert model._layers[0].gate_up.data_ptr() % mmap.PAGESIZE == 0
    assert kv_store(model, 512, torch.device("cpu")).data_ptr() % mmap.PAGESIZE == 0
    assert pages((7,), torch.float32, torch.device("cpu")).shape == (7,)


@pytest.mark.parametrize("beside", ["nothing", "gemm"])
def test_a_cpu_copies_as_the_engine_does(beside, monkeypatch):
    """In a thread, after a pass of the main one, or with passes until it has ended; passes are not timed."""
    passes = []
    policy = getattr(os, "sched_getscheduler", lambda task: None)
    monkeypatch.setattr(host_copies.Passes, "one", lambda self: (time.sleep(0.004), passes.append(policy(0))))
    copied = host_copies.copied_s
    slow = 0.010 if beside == "gemm" else 0.0
    monkeypatch.setattr(host_copies, "copied_s", lambda *pieces: (time.sleep(slow), copied(*pieces))[1])
    point = Point("copy", moved_bytes=2**16, block_bytes=2**14, descriptors=4, direction="device", beside=beside)
    found = timed(point, CPU, 0.01)
    assert 0 < found.seconds < 0.001
    assert found.n_runs == host_copies.RUNS
    least = (host_copies.RUNS + 1) * (2 if beside == "gemm" else 1)
    assert least <= len(passes) <= 2 * least
    assert set(passes) == {getattr(os, "SCHED_IDLE", None)}, "copies go before what computes"


@needs_policies
def test_the_engine_copies_before_what_computes():
    with copier_of(torch.device("cpu"), time.perf_counter):
        assert os.sched_getscheduler(0) == os.SCHED_IDLE


_POLICIES = """
import os, threading
from ctxsim.measure.copy_threads import copy_threads
policy = lambda: os.sched_getscheduler(threading.get_native_id())
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
with copy_threads(2) as threads:
    print(*(thread.submit(policy).result() for thread in threads), policy())
print(policy())
"""


@needs_policies
def test_threads_that_compute_yield_to_those_that_copy_while_these_last():
    """In a process of its own: one without rights keeps the low priority."""
    run = subprocess.run([sys.executable, "-c", _POLICIES], capture_output=True, text=True, check=True)
    during, after = run.stdout.splitlines()
    assert during == f"{os.SCHED_BATCH} {os.SCHED_BATCH} {os.SCHED_IDLE}"
    assert int(after) == os.SCHED_BATCH or os.geteuid() != 0


def test_passes_are_of_different_numbers_of_sequences(monkeypatch):
    asked = []
    monkeypatch.setattr(Transformer, "forward", lambda self, kept, segments: asked.append(segments) or torch.zeros(1))
    passes = small_passes(CPU)
    for _ in range(5):
        passes.one()
    assert [len(segments) for segments in asked] == [1, 2, 4, 8, 1]
    assert [segment.base for segment in asked[2]] == [0, 256, 512, 768]
    assert {segment.total for segments in asked for segment in segments} == {256}
    passes.chunk(128)
    assert [(segment.past, segment.total) for segment in asked[-1]] == [(128, 640)]
    passes.decode(2, 100)
    assert [(segment.base, segment.total) for segment in asked[-1]] == [(0, 100), (256, 100)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_plain_copy_is_the_source_byte_by_byte_and_nothing_beside_it(dtype):
    source = torch.randn(9, 2, 3, 4).to(dtype)
    target = torch.zeros(12, 2, 3, 4, dtype=dtype)
    copy_plain(target[2:7], source[1:6])
    assert torch.equal(target[2:7], source[1:6])
    assert not target[:2].any()
    assert not target[7:].any()
