"""The kernels compute what their points say, and a run over a plan leaves rows; needs torch."""

from __future__ import annotations

import itertools
import time

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.cost.curves.elementwise import PASSES  # noqa: E402
from ctxsim.errors import SpecError  # noqa: E402
from ctxsim.measure import (  # noqa: E402  # noqa: E402
    FAMILIES,
    Point,
    engine_loop,
    measure,
    read,
    serial,
    timing,
)
from ctxsim.measure import run as running  # noqa: E402
from ctxsim.measure.attention import causal_mask, decode_attention, prefill_attention  # noqa: E402
from ctxsim.measure.devices import Device, device_of  # noqa: E402
from ctxsim.measure.left_out import LeftOut  # noqa: E402
from ctxsim.measure.operands import in_turn, noise  # noqa: E402
from ctxsim.measure.plan import LEAST_RUNS, Subject, plan  # noqa: E402
from ctxsim.measure.rows import RowsFile  # noqa: E402
from ctxsim.measure.run import WORK_OF, Run, timed  # noqa: E402
from ctxsim.measure.timing import MOST_RUNS, Timing, Work, time_work  # noqa: E402

SMALL_CACHE = Device("cpu", "a processor", "", 2**16, 1, 1, 1)
TINY = {
    "gemm": Point("gemm", "fp32", m=3, n=16, k=8),
    "prefill_attention": Point(
        "prefill_attention", "fp32", "fp32",
        batch=2, heads=4, kv_heads=2, head_dim=8, new_tokens=5, past_tokens=7,
    ),
    "decode_attention": Point(
        "decode_attention", "fp32", "fp32",
        batch=2, heads=4, kv_heads=2, head_dim=8, new_tokens=1, past_tokens=7,
    ),
    "copy": Point("copy", moved_bytes=64, block_bytes=16, descriptors=4, direction="device", beside="nothing"),
    "elementwise": Point("elementwise", "fp32", m=4, n=8, moved_bytes=512, variant="norm"),
    "host": Point("host", batch=2),
    "launch": Point("launch", direction="to_device", descriptors=1),
}  # fmt: skip


def by_hand(queries, keys, values, past):
    """Attention written out: softmax of scaled scores over the keys that each query may see."""
    group = queries.shape[2] // keys.shape[2]
    keys, values = (kv.repeat_interleave(group, dim=2) for kv in (keys, values))
    scores = torch.einsum("bqhd,bkhd->bhqk", queries, keys) / queries.shape[3] ** 0.5
    new, total = scores.shape[2:]
    unseen = torch.arange(total)[None, :] > torch.arange(new)[:, None] + past
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(unseen, float("-inf")).softmax(-1), values)


@pytest.mark.parametrize(("new", "past"), [(6, 0), (4, 9), (1, 9)])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_chunk_sees_all_of_the_past_and_itself_causally(new, past, kv_heads):
    torch.manual_seed(0)
    queries = torch.randn(2, new, 4, 8)
    keys, values = (torch.randn(2, past + new, kv_heads, 8) for _ in range(2))
    found = prefill_attention(queries, keys, values, causal_mask(new, past + new, queries.device))
    torch.testing.assert_close(found, by_hand(queries, keys, values, past))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_new_token_sees_everything(kv_heads):
    torch.manual_seed(0)
    queries = torch.randn(2, 1, 4, 8)
    keys, values = (torch.randn(2, 10, kv_heads, 8) for _ in range(2))
    torch.testing.assert_close(decode_attention(queries, keys, values), by_hand(queries, keys, values, 9))


@pytest.mark.parametrize("family", sorted(TINY))
def test_every_family_can_be_timed(family):
    found = timed(TINY[family], SMALL_CACHE, 0.01)
    assert found.seconds > 0
    assert found.iqr_s >= 0
    assert found.n_runs >= LEAST_RUNS


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("gemm", (3, 16)),
        ("prefill_attention", (2, 5, 4, 8)),
        ("decode_attention", (2, 1, 4, 8)),
        ("elementwise", (4, 8)),
    ],
)
def test_results_have_the_shape_of_the_point(family, shape):
    assert WORK_OF[family](TINY[family], SMALL_CACHE).calls[0]().shape == shape


def test_a_copy_copies_every_block_and_nothing_between():
    from ctxsim.measure import copies

    blocks = copies._blocks(TINY["copy"], torch.device("cpu"), 3)
    assert len(blocks) == 3 * 4
    gaps = {b.data_ptr() - a.data_ptr() for a, b in itertools.pairwise(blocks)}
    assert gaps == {32}, "blocks of 16 bytes with as much between them"
    targets = torch.zeros(4, 16, dtype=torch.uint8)
    copies._copy(blocks[:4], targets)()
    assert targets.eq(1).all()


def test_noise_is_random_in_any_size_and_format():
    device = torch.device("cpu")
    for dtype in ("fp32", "bf16", "fp8"):
        long = noise((3, 700_001), dtype, device).float()
        assert long.shape == (3, 700_001)
        assert abs(float(long.mean())) < 0.01
        assert float(long.std()) == pytest.approx(1, rel=0.01)
    assert noise((2,), "fp32", device).data_ptr() != noise((2,), "fp32", device).data_ptr()


def test_operands_are_taken_in_turn():
    made = in_turn(lambda: object(), 2**14, 2**16)
    assert len(set(map(id, made))) == len(made) == 17


def test_a_call_that_waits_is_timed_as_long_as_it_waits():
    found = time_work(Work([lambda: time.sleep(0.002)]), "cpu", 0.1)
    assert 0.002 <= found.seconds < 0.02
    assert LEAST_RUNS <= found.n_runs <= MOST_RUNS


def test_short_calls_are_timed_several_at_once():
    called = []
    found = time_work(Work([lambda: called.append(1)]), "cpu", 0.001)
    assert len(called) > 50 * found.n_runs


class Clock:
    """A device on which every call takes two milliseconds; stands in for CUDA's events."""

    def __init__(self, monkeypatch) -> None:
        self.calls = 0
        monkeypatch.setattr(torch.cuda, "Event", self.event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    def call(self) -> None:
        self.calls += 1

    @property
    def now_ms(self) -> float:
        return 2.0 * self.calls

    def event(self, enable_timing: bool):
        clock = self

        class Event:
            def record(self) -> None:
                self.at_ms = clock.now_ms

            def elapsed_time(self, other) -> float:
                return other.at_ms - self.at_ms

        return Event()


class Graph:
    def __init__(self, calls, count: int) -> None:
        self._calls = [next(calls) for _ in range(count)]

    def replay(self) -> None:
        for call in self._calls:
            call()


@pytest.mark.parametrize("capturable", [True, False])
def test_a_device_is_timed_by_its_own_clock(monkeypatch, capturable):
    monkeypatch.setattr(timing, "_graph", Graph)
    clock = Clock(monkeypatch)
    found = time_work(Work([clock.call] * 3, capturable), "cuda", 0.01)
    assert found.seconds == pytest.approx(0.002)
    assert (found.iqr_s, found.n_runs) == (pytest.approx(0, abs=1e-12), LEAST_RUNS)


def test_a_graph_holds_every_set_of_operands(monkeypatch):
    sizes = []
    monkeypatch.setattr(timing, "_graph", lambda calls, count: sizes.append(count) or Graph(calls, count))
    time_work(Work([Clock(monkeypatch).call] * 1000), "cuda", 0.01)
    assert sizes == [1000]


def test_the_background_lasts_as_long_as_what_is_timed(monkeypatch):
    filled = []

    class Background:
        def fill(self, seconds: float) -> None:
            filled.append(seconds)

    clock = Clock(monkeypatch)
    monkeypatch.setattr(timing, "_warm_up", lambda calls, kind: 0.5)
    time_work(Work([clock.call], capturable=False, background=Background()), "cuda", 0.0)
    assert filled == [2 * (LEAST_RUNS + 1) * 0.5]


# Runs


def test_a_budget_buys_rows_and_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running.Others, "disturb", lambda self: False)  # this machine may be busy with other tests
    seen = []
    path = tmp_path / "rows.parquet"
    families = ["launch", "gemm", "all_reduce"]
    frame = measure("cpu", 8.0, families, lambda *at: seen.append(at), path, "the command")
    found, meta = read(path)
    assert found.astype(str).equals(frame.astype(str))
    assert set(frame["family"]) == {"gemm", "launch"}
    assert frame["seconds"].min() > 0
    assert frame["n_runs"].min() >= LEAST_RUNS
    assert (meta["kind"], meta["command"], meta["budget_s"]) == ("cpu", "the command", 8.0)
    assert meta["families"] == ["gemm", "all_reduce", "launch"]
    assert {"device", "driver", "torch", "cuda", "python", "threads", "ctxsim"} <= set(meta)
    assert "all_reduce: left out, as there is one device" in capsys.readouterr().err
    assert [rows for _, rows, _ in seen] == sorted(rows for _, rows, _ in seen)


def _run(said, budget_s=60.0):
    planned = plan(Subject("cpu", 1, 2**16, 1), budget_s, FAMILIES)
    return Run(planned.costs, SMALL_CACHE, RowsFile(None, {}), LeftOut(said.append))


def test_a_point_that_fails_is_left_out_with_its_reason(monkeypatch):
    monkeypatch.setattr(running.Others, "disturb", lambda self: False)

    def fails(point, device, limit_s):
        raise RuntimeError("no such kernel\nand a long story")

    monkeypatch.setattr(running, "timed", fails)
    said: list[str] = []
    run = _run(said)
    run.take(TINY["gemm"])
    run.take(TINY["gemm"])
    assert said == [f"left out: {TINY['gemm']}: RuntimeError: no such kernel"]
    run._left_out.say_counts()
    assert said[1] == "gemm fp32: 2 points left out in all: RuntimeError: no such kernel"


def test_a_point_too_large_for_memory_or_time_is_not_tried():
    said: list[str] = []
    vast = Point("copy", moved_bytes=10**15, block_bytes=10**15, descriptors=1, direction="device")
    _run(said, 1e9).take(vast)
    _run(said, 60.0).take(vast)
    assert said[0].endswith("its operands do not fit into the memory that is free")
    assert said[1].endswith("it would take too much of the budget, by the last of its kind")
    assert not _run(said, 60.0).reaches(vast)
    assert _run(said, 60.0).reaches(TINY["gemm"])


def test_a_point_that_others_disturb_is_tried_again_and_then_left_out(monkeypatch):
    said: list[str] = []
    tries = []
    monkeypatch.setattr(running, "timed", lambda point, device, limit_s: tries.append(point) or Timing(1e-3, 0.0, 5))
    monkeypatch.setattr(running.Others, "disturb", lambda self: True)
    monkeypatch.setattr(running, "wait_until_quiet", lambda most_s: None)
    _run(said).take(TINY["gemm"])
    assert len(tries) == running.MOST_TRIES
    assert said == [f"left out: {TINY['gemm']}: other processes kept the processor busy; stop them, or measure later"]
    monkeypatch.setattr(running.Others, "disturb", lambda self: len(tries) < 5)
    run = _run(said)
    run.take(TINY["gemm"])
    assert len(tries) == 5
    assert [row["seconds"] for row in run._file.rows] == [1e-3]


def test_long_points_are_judged_by_what_their_kind_took():
    run = _run([], 60.0)
    long = Point("gemm", "fp32", m=512, n=4096, k=4096)
    run._learn(long, 10 * run._costs.guess.call_s(long))
    assert run._slower_ratio == {("gemm", "fp32"): pytest.approx(10)}
    run._learn(TINY["gemm"], 5e-6)
    assert run._slower_ratio == {("gemm", "fp32"): pytest.approx(10)}, "a short call tells nothing of long ones"


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(SpecError, match=r'device: expected cuda or cpu, found "cdua"; did you mean "cuda"\?'):
        device_of("cdua")
    if not torch.cuda.is_available():
        with pytest.raises(SpecError, match=r"device: expected a CUDA device, found none that torch .* sees; take cpu"):
            device_of("cuda")


@pytest.mark.parametrize("variant", sorted(PASSES))
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_small_kernel_can_be_timed(variant, dtype):
    point = Point("elementwise", dtype, m=4, n=128, moved_bytes=PASSES[variant] * 4 * 128 * 4, variant=variant)
    assert timed(point, SMALL_CACHE, 0.01).seconds > 0


@pytest.mark.parametrize(("new", "past"), [(1, 9), (5, 7), (5, 0)])
def test_a_cpu_computes_sequence_by_sequence_what_one_call_would(new, past):
    point = Point(
        "prefill_attention", "fp32", "fp32", batch=3, heads=4, kv_heads=2, head_dim=8, new_tokens=new, past_tokens=past
    )
    (call, *_) = serial.attention(point, SMALL_CACHE).calls
    queries, kept = (cell.cell_contents for name, cell in zip(
        call.__code__.co_freevars, call.__closure__, strict=True) if name in ("queries", "kept"))  # fmt: skip
    if queries.dim() == 4:
        queries, kept = kept, queries
    keys, values = kept.view(3, past + new, 2, 2, 8).unbind(2)
    torch.testing.assert_close(call(), by_hand(queries.view(3, new, 4, 8), keys, values, past))


def test_the_loop_is_what_two_layers_do_not_add(monkeypatch):
    """One layer takes 5, two take 7: without layers 3."""
    times = {1: [5.0] * 9, 2: [7.0] * 9}
    monkeypatch.setattr(engine_loop, "_iteration_s", lambda sequences, layers, device: times[layers])
    assert engine_loop.host_timing(Point("host", batch=1), SMALL_CACHE).seconds == 3.0
    times[2] = [10.0] * 9
    with pytest.raises(RuntimeError, match="two layers took twice as long as one"):
        engine_loop.host_timing(Point("host", batch=1), SMALL_CACHE)
