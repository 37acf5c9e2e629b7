"""Traces: what ui.perfetto.dev needs of a file, and that the file says what the tables say."""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ctxsim

from ctxsim import __version__
from ctxsim.api.results import simulation_result
from ctxsim.api.storage import load_result, save
from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.records import REQUEST_COLUMNS, TRANSFER_COLUMNS, Column, Records, Rows, Table, run_columns, table
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import load_scenario
from ctxsim.tracing import Window, write_trace
from ctxsim.tracing.window import KINDS

TINY_HOST = {"serving.disk_kv_capacity": "1 TiB", "serving.host_kv_capacity": "64 GiB"}
SHORT = {"run.horizon": "8 min"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "swap to disk": ("yi-34b-50k-a100", SHORT | TINY_HOST),
    "inclusive": ("yi-34b-50k-a100", SHORT | {"serving.host_tier": "inclusive"}),
    "recompute": ("yi-34b-50k-a100", SHORT | {"serving.residency": "recompute"}),
    "two of them": ("yi-34b-50k-a100", SHORT | {"deployment.replicas": 2}),
    "preempting": ("yi-34b-50k-a100", {"run.horizon": "20 min", "workload.answer_tokens": 3000}),
    "replay": ("mooncake-replay", {"serving.enable_prefix_caching": True}),
    "chat": ("llama-8b-chat", {"workload.num_requests": 40}),
}
KV_NAMES = {"served", "idle in HBM", "host", "disk"}
US = 1e-6

Events = list[dict[str, Any]]


@pytest.fixture(scope="module", params=CASES)
def simulation(request: pytest.FixtureRequest) -> Simulation:
    return simulated(request.param)


@pytest.fixture(scope="module")
def swapping() -> Simulation:
    return simulated("swap to disk")


def simulated(case: str) -> Simulation:
    return simulate(load_scenario(*CASES[case]))


def tables_of(simulation: Simulation) -> dict[str, Records]:
    return {"requests": simulation.requests, "runs": simulation.runs, "transfers": simulation.transfers}


def read(path: Path) -> dict[str, Any]:
    """The file as strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    # Perfetto takes what stands before the events into account only in its first chunk, and stops at unknown keys.
    assert list(found) == ["displayTimeUnit", "otherData", "traceEvents"]
    assert found["displayTimeUnit"] == "ms"
    return found


def check(events: Events) -> None:
    """Everything that holds for any trace; raises AssertionError where one of it does not."""
    timed = [e for e in events if e["ph"] != "M"]
    assert events[: len(events) - len(timed)] == [e for e in events if e["ph"] == "M"]
    assert all(type(e["ts"]) is int and e["ts"] >= 0 for e in timed)
    assert [e["ts"] for e in timed] == sorted(e["ts"] for e in timed)
    check_names(events)
    check_slices([e for e in timed if e["ph"] == "X"])
    check_spans([e for e in timed if e["ph"] in "bne"])
    for e in timed:
        assert e["ph"] in "XbneC"
        if e["ph"] == "C":
            assert e["args"]
            assert all(type(v) in (int, float) and v >= 0 for v in e["args"].values()), e


def check_names(events: Events) -> None:
    """Every process and thread has one name, and no number stands for two of them."""
    named = [(e["name"], e["pid"], e["tid"]) for e in events if e["ph"] == "M"]
    processes = [pid for name, pid, _ in named if name == "process_name"]
    threads = [(pid, tid) for name, pid, tid in named if name == "thread_name"]
    numbers = processes + [tid for _, tid in threads]
    assert 0 not in numbers
    assert len(numbers) == len(set(numbers))
    assert {e["pid"] for e in events} <= set(processes)
    assert {(e["pid"], e["tid"]) for e in events} <= set(threads)


def check_slices(slices: Events) -> None:
    """On each thread they follow each other."""
    last: dict[int, int] = defaultdict(int)
    for e in slices:
        assert type(e["dur"]) is int
        assert e["dur"] >= 0
        assert e["ts"] >= last[e["tid"]], e
        last[e["tid"]] = e["ts"] + e["dur"]


def check_spans(events: Events) -> None:
    """Each begin has its end, inner ones inside outer ones."""
    open_spans: dict[tuple[str, int, str], list[str]] = defaultdict(list)
    for e in events:
        stack = open_spans[e["cat"], e["pid"], e["id2"]["local"]]
        if e["ph"] == "b":
            stack.append(e["name"])
        else:
            assert stack, e
            if e["ph"] == "e":
                assert stack.pop() == e["name"], e
    assert not any(open_spans.values())


def spans_of(events: Events) -> dict[int, dict[str, tuple[int, int]]]:
    """By request: the begin and end of the whole and of each phase."""
    found: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    begun: dict[tuple[str, str], int] = {}
    for e in events:
        if e["ph"] == "b":
            begun[e["id2"]["local"], e["name"]] = e["ts"]
        elif e["ph"] == "e":
            number = e["id2"]["local"]
            assert e["name"] not in found[int(number)]
            found[int(number)][e["name"]] = (begun.pop((number, e["name"])), e["ts"])
    return found


def written(simulation: Simulation, path: Path, window: Window | None = None) -> Events:
    write_trace(path, tables_of(simulation), {}, window)
    events: Events = read(path)["traceEvents"]
    check(events)
    return events


def test_some_of_the_cases_preempt_and_copy() -> None:
    assert simulated("preempting").summary["preemptions"]
    assert {(0, 1), (1, 2), (2, 0)} <= set(
        zip(*(simulated("swap to disk").transfers[name].tolist() for name in ("source", "target")), strict=True)
    )


def test_a_trace_is_what_perfetto_takes_and_says_what_the_tables_say(simulation: Simulation, tmp_path: Path) -> None:
    events = written(simulation, tmp_path / "t.json")
    check_requests(events, simulation.requests.table())
    check_iterations(events, simulation.runs.table())
    check_copies(events, simulation.transfers.table())
    check_memory(events, simulation)


def check_requests(events: Events, requests: Table) -> None:
    """Spans are those of the table, to a microsecond; phases follow each other and fill the whole."""
    spans = spans_of(events)
    args = {e["args"]["request"]: e for e in events if e["ph"] == "b" and e["name"] == "request"}
    tokens = {int(e["id2"]["local"]): e["ts"] for e in events if e["ph"] == "n"}
    assert len(spans) == len(args) == len(requests)
    for i, number in enumerate(requests["request"].tolist()):
        row = {name: requests[name][i] for name in requests.names}
        begin, end = spans[number]["request"]
        assert begin == pytest.approx(row["arrival_s"] / US, abs=0.51)
        assert end == pytest.approx(row["finished_s"] / US, abs=0.51)
        phases = sorted(s for name, s in spans[number].items() if name != "request")
        assert [begin, *(e for _, e in phases)] == [*(b for b, _ in phases), end]
        first = spans[number]["prefill"][1]
        assert first == pytest.approx(row["first_token_s"] / US, abs=0.51)
        assert tokens.get(number) == (first if row["output_tokens"] else None)
        queue = spans[number].get("queue", (0, 0))
        assert queue[1] - queue[0] == pytest.approx(row["queue_s"] / US, abs=1.01)
        if row["host_hit_tokens"] + row["disk_hit_tokens"] and not row["preemptions"]:
            swap = spans[number]["swap in"]
            assert swap[1] - swap[0] == pytest.approx(row["fetch_s"] / US, abs=1.01)
        found = args[number]
        assert found["pid"] == (row["replica"] + 1) * 10
        assert all(found["args"][name] == row[name] for name in found["args"])


def check_iterations(events: Events, runs: Table) -> None:
    slices = [e for e in events if e["ph"] == "X" and e["cat"] == "iterations"]
    assert len(slices) == len(runs)
    n = runs["iterations"]
    length_s = n * runs["first_s"] + runs["growth_s"] * n * (n - 1) / 2
    assert sum(e["dur"] for e in slices) == pytest.approx(length_s.sum() / US, abs=len(slices) + 1)
    assert sum(e["args"]["iterations"] * e["args"]["new_tokens"] for e in slices) == (n * runs["new_tokens"]).sum()
    kinds = {e["name"] for e in slices}
    assert kinds <= {"prefill", "decode", "mixed"}
    assert sum(e["name"] == "decode" for e in slices) == np.count_nonzero(runs["decoding"] == runs["sequences"])
    assert sum(e["name"] == "prefill" for e in slices) == np.count_nonzero(runs["decoding"] == 0)
    running = running_at_starts(events)
    assert all(running[e["pid"], e["ts"]] == e["args"]["sequences"] for e in slices if e["dur"])
    assert all(last == 0 for last in last_values(events, "running", "sequences").values())
    assert all(last == 0 for last in last_values(events, "waiting", "requests").values())


def running_at_starts(events: Events) -> dict[tuple[int, int], int]:
    """The last value of a time is the one that holds."""
    return {(e["pid"], e["ts"]): e["args"]["sequences"] for e in events if e["ph"] == "C" and e["name"] == "running"}


def last_values(events: Events, counter: str, series: str) -> dict[int, int]:
    return {e["pid"]: e["args"][series] for e in events if e["ph"] == "C" and e["name"] == counter}


def check_copies(events: Events, transfers: Table) -> None:
    slices = {e["args"]["transfer"]: e for e in events if e["ph"] == "X" and e["cat"] == "copies"}
    threads = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert len(slices) == len(transfers)
    tiers = ("HBM", "host", "disk")
    for i, number in enumerate(transfers["transfer"].tolist()):
        e = slices[number]
        assert threads[e["tid"]] == f"{tiers[transfers['source'][i]]} -> {tiers[transfers['target'][i]]}"
        assert e["ts"] == pytest.approx(transfers["start_s"][i] / US, abs=0.51)
        assert e["ts"] + e["dur"] == pytest.approx(transfers["end_s"][i] / US, abs=1.51)
        assert e["args"]["tokens"] == transfers["tokens"][i]
    rates: dict[tuple[int, str], Events] = defaultdict(list)
    for e in events:
        if e["ph"] == "C" and e["name"].startswith("link "):
            rates[e["pid"], e["name"]].append(e)
    moved = sum(
        now["args"]["bytes/s"] * (after["ts"] - now["ts"]) * US
        for series in rates.values()
        for now, after in pairwise(series)
    )
    assert moved == pytest.approx(transfers["moved_bytes"].sum(), rel=1e-5)
    assert all(series[-1]["args"]["bytes/s"] == 0 for series in rates.values())


def check_memory(events: Events, simulation: Simulation) -> None:
    """KV fits where it is said to lie, and something is served whenever sequences run."""
    kept = [e for e in events if e["ph"] == "C" and e["name"] == "KV bytes"]
    assert all(set(e["args"]) == KV_NAMES for e in kept)
    pool = CostModel(simulation.scenario).memory.kv_capacity_bytes
    assert max(e["args"]["served"] for e in kept) <= pool + 1
    served = {(e["pid"], e["ts"]): e["args"]["served"] for e in kept}
    running = running_at_starts(events)
    assert all(served[key] > 0 for key, sequences in running.items() if sequences)
    host = max(simulation.runs["host_bytes"].max(), simulation.transfers["host_bytes"].max(initial=0.0))
    assert max(e["args"]["host"] for e in kept) == pytest.approx(host, abs=1)


SPOILED: dict[str, Callable[[Events], Any]] = {
    "an end is missing": lambda es: es.remove(next(e for e in es if e["ph"] == "e")),
    "a begin is missing": lambda es: es.remove(next(e for e in es if e["ph"] == "b")),
    "ends in the wrong order": lambda es: swap_names([e for e in es if e["ph"] == "e" and e["id2"]["local"] == "0"]),
    "not in order of time": lambda es: es.append(es.pop(len(es) // 2)),
    "slices overlap": lambda es: longer(next(e for e in es if e["ph"] == "X")),
    "a time is no whole number": lambda es: es[-1].update(ts=float(es[-1]["ts"])),
    "a counter is negative": lambda es: next(e for e in es if e["ph"] == "C")["args"].update(requests=-1),
    "a thread has no name": lambda es: es.remove(next(e for e in es if e["name"] == "thread_name")),
    "a process has no name": lambda es: es.remove(next(e for e in es if e["name"] == "process_name")),
    "a request of another process ends": lambda es: next(e for e in es if e["ph"] == "e").update(pid=20, tid=21),
}


def swap_names(events: Events) -> None:
    events[-1]["name"], events[-2]["name"] = events[-2]["name"], events[-1]["name"]


def longer(event: dict[str, Any]) -> None:
    event["dur"] += 10


@pytest.mark.parametrize("fault", SPOILED)
def test_the_check_sees_what_is_wrong(fault: str, swapping: Simulation, tmp_path: Path) -> None:
    events = copy.deepcopy(written(swapping, tmp_path / "t.json"))
    SPOILED[fault](events)
    with pytest.raises((AssertionError, KeyError)):
        check(events)


def test_same_rows_same_bytes_zipped_or_not_live_or_loaded(swapping: Simulation, tmp_path: Path) -> None:
    about = {"scenario": "x", "seed": 0}
    loaded = load_result(save(simulation_result(swapping), tmp_path / "saved")).tables
    for name in ("a.json", "b.json", "a.json.gz", "b.json.gz"):
        write_trace(tmp_path / name, tables_of(swapping) if name[0] == "a" else loaded, about)
    plain, zipped = (tmp_path / "a.json").read_bytes(), (tmp_path / "a.json.gz").read_bytes()
    assert (tmp_path / "b.json").read_bytes() == plain
    assert (tmp_path / "b.json.gz").read_bytes() == zipped
    assert gzip.decompress(zipped) == plain
    assert zipped[4:8] == bytes(4)  # no time
    assert not zipped[3]  # and no name
    assert read(tmp_path / "a.json")["otherData"].items() >= about.items()


def ids_of(events: Events) -> tuple[set[int], set[tuple[int, int]], set[int]]:
    """Which requests, runs and copies are in it."""
    slices = [e for e in events if e["ph"] == "X"]
    runs = {(e["pid"], e["ts"]) for e in slices if e["cat"] == "iterations"}
    return set(spans_of(events)), runs, {e["args"]["transfer"] for e in slices if e["cat"] == "copies"}


@pytest.mark.parametrize("most", [1, 700, 1500, 4000, 100_000])
def test_what_there_is_no_room_for_is_left_out_and_named(most: int, swapping: Simulation, tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "t.json", tables_of(swapping), {}, Window(max_events=most))
    found = read(trace.path)
    events, other = found["traceEvents"], found["otherData"]
    check(events)
    assert trace.events == sum(e["ph"] != "M" for e in events) <= most
    whole = {name: len(rows) for name, rows in tables_of(swapping).items()}
    kept = dict(zip(("requests", "runs", "transfers"), map(len, ids_of(events)), strict=True))
    assert other["left_out"] == {name: whole[name] - kept[name] for name in whole}
    if most == 100_000:
        assert not other["truncated"]
        assert not trace.warnings
        return
    assert other["truncated"]
    assert f"--trace-from {other['until_s']:.6g}" in trace.warnings[0]
    assert f"{whole['runs'] - kept['runs']:,} of {whole['runs']:,} runs of iterations" in trace.warnings[0]
    starts = np.concatenate([swapping.requests["arrival_s"], swapping.runs["start_s"], swapping.transfers["start_s"]])
    assert sum(kept.values()) == np.count_nonzero(starts < other["until_s"])
    assert other["until_s"] == first_without_room(swapping, most)


def first_without_room(simulation: Simulation, most: int) -> float:
    """Rows in order of their start, each counted with the most events that it may become."""
    starts = [(rows[KINDS[name].start], KINDS[name].events) for name, rows in tables_of(simulation).items()]
    start_s = np.concatenate([s for s, _ in starts])
    events = np.repeat([n for _, n in starts], [len(s) for s, _ in starts])
    order = np.argsort(start_s)
    return float(start_s[order[np.flatnonzero(np.cumsum(events[order]) > most)[0]]])


def whole_row(**values: float) -> dict[str, float]:
    return dict.fromkeys((c.name for c in (*REQUEST_COLUMNS, *TRANSFER_COLUMNS, *run_columns(1))), 0.0) | values


def rows_of(columns: Sequence[Column], *rows: dict[str, float]) -> Table:
    return table(columns, [tuple(int(r[c.name]) if c.dtype == "int64" else r[c.name] for c in columns) for r in rows])


def test_a_row_becomes_no_more_events_than_it_is_counted_for(tmp_path: Path) -> None:
    """Each kind of row at its fullest: all phases, a rest after the run, a copy in that rest."""
    request = whole_row(
        arrival_s=1, admitted_s=2, fetch_s=1, first_token_s=4, finished_s=9, host_hit_tokens=1, output_tokens=3
    )
    run = whole_row(start_s=2, first_s=1, iterations=1, sequences=1, decoding=1, kv_start_bytes=7)
    copy_row = whole_row(source=1, target=0, ordered_s=3, start_s=3, end_s=4, moved_bytes=5)
    rows = {
        "requests": rows_of(REQUEST_COLUMNS, request),
        "runs": rows_of(run_columns(1), run, run | {"start_s": 6}),
        "transfers": rows_of(TRANSFER_COLUMNS, copy_row),
    }
    write_trace(tmp_path / "t.json", rows, {})
    events = [e for e in read(tmp_path / "t.json")["traceEvents"] if e["ph"] != "M"]
    check(read(tmp_path / "t.json")["traceEvents"])
    spans = [e for e in events if e["ph"] in "bne"]
    assert [e["ph"] + e["name"] for e in spans] == [
        "brequest", "bqueue", "equeue", "bswap in", "eswap in", "bprefill", "eprefill", "nfirst token", "bdecode",
        "edecode", "erequest",
    ]  # fmt: skip
    assert len(spans) == KINDS["requests"].events
    # The rest after the last run is the end of the trace: there is no KV to be told of it.
    assert len(events) == len(spans) + 2 * KINDS["runs"].events + KINDS["transfers"].events - 1
    kept = [(e["ts"], e["args"]["served"]) for e in events if e["name"] == "KV bytes"]
    assert kept == [(2_000_000, 7), (3_000_000, 7), (4_000_000, 0), (6_000_000, 7)]


def test_a_request_without_tokens_has_no_first_one(tmp_path: Path) -> None:
    request = whole_row(arrival_s=1, admitted_s=1, first_token_s=4, finished_s=4, output_tokens=0)
    rows = {
        "requests": rows_of(REQUEST_COLUMNS, request),
        "runs": Rows(run_columns(1)),
        "transfers": Rows(TRANSFER_COLUMNS),
    }
    write_trace(tmp_path / "t.json", rows, {})
    events = read(tmp_path / "t.json")["traceEvents"]
    check(events)
    spans = [e["ph"] + e["name"] for e in events if e["ph"] in "bne"]
    assert spans == ["brequest", "bprefill", "eprefill", "erequest"]


def test_of_copies_that_join_together_the_last_says_what_is_held(tmp_path: Path) -> None:
    """They start in one order and end, at one boundary, in the other."""
    run = whole_row(start_s=0, first_s=4, iterations=1, sequences=1, kv_start_bytes=7, host_bytes=9)
    later = whole_row(transfer=1, source=0, target=1, start_s=1, end_s=3, moved_bytes=2, host_bytes=30)
    earlier = whole_row(transfer=0, source=1, target=0, start_s=2, end_s=3, moved_bytes=2, host_bytes=20)
    rows = {
        "requests": Rows(REQUEST_COLUMNS),
        "runs": rows_of(run_columns(1), run, run | {"start_s": 9}),
        "transfers": rows_of(TRANSFER_COLUMNS, earlier, later),
    }
    write_trace(tmp_path / "t.json", rows, {})
    kept = [(e["ts"], e["args"]["host"]) for e in read(tmp_path / "t.json")["traceEvents"] if e["name"] == "KV bytes"]
    assert kept == [(0, 9), (4_000_000, 30), (9_000_000, 9)]


def test_windows_one_after_the_other_show_everything(swapping: Simulation, tmp_path: Path) -> None:
    whole = ids_of(written(swapping, tmp_path / "t.json"))
    shown: list[set[Any]] = [set(), set(), set()]
    from_s, number = 0.0, 0
    while True:
        window = Window(from_s=from_s, max_events=1500)
        write_trace(tmp_path / "part.json", tables_of(swapping), {}, window)
        found = read(tmp_path / "part.json")
        check(found["traceEvents"])
        for seen, more in zip(shown, ids_of(found["traceEvents"]), strict=True):
            seen |= more
        if not found["otherData"]["truncated"]:
            break
        assert found["otherData"]["until_s"] > from_s
        from_s, number = found["otherData"]["until_s"], number + 1
    assert number > 2
    assert tuple(shown) == whole


def test_a_window_has_what_overlaps_it_whole(swapping: Simulation, tmp_path: Path) -> None:
    events = written(swapping, tmp_path / "t.json", Window(from_s=100.0, until_s=160.0))
    requests, runs, transfers = swapping.requests, swapping.runs, swapping.transfers
    inside = (requests["arrival_s"] < 160) & (requests["finished_s"] >= 100)
    assert 0 < inside.sum() < len(requests)
    found = ids_of(events)
    assert found[0] == set(requests["request"][inside].tolist())
    assert found[2] == set(transfers["transfer"][(transfers["start_s"] < 160) & (transfers["end_s"] >= 100)].tolist())
    begins = [ts * US for _, ts in found[1]]
    assert len(begins) == np.count_nonzero((runs["start_s"] < 160) & (np.append(runs["start_s"][1:], np.inf) >= 100))
    spans = spans_of(events)
    assert min(begin for s in spans.values() for begin, _ in s.values()) < 100 / US
    assert max(end for s in spans.values() for _, end in s.values()) > 160 / US


class OnlyParts:
    """Rows that refuse to be held in memory as a whole."""

    def __init__(self, rows: Table, part_rows: int) -> None:
        self.rows, self.part_rows = rows, part_rows
        self.names = rows.names

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self) -> Iterator[Table]:
        for at in range(0, len(self.rows), self.part_rows):
            yield Table({name: self.rows[name][at : at + self.part_rows] for name in self.names})

    def __getitem__(self, name: str) -> np.ndarray:
        raise AssertionError("reads a whole column")

    column = __getitem__

    def table(self) -> Table:
        raise AssertionError("reads a whole table")


def test_tables_are_read_part_by_part(swapping: Simulation, tmp_path: Path) -> None:
    parts = {name: OnlyParts(rows.table(), 7) for name, rows in tables_of(swapping).items()}
    for window in (Window(), Window(max_events=1500), Window(from_s=50, until_s=90)):
        write_trace(tmp_path / "parts.json", parts, {}, window)
        write_trace(tmp_path / "whole.json", tables_of(swapping), {}, window)
        assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_a_simulation_that_served_nothing_is_an_empty_trace(tmp_path: Path) -> None:
    empty = {"requests": Rows(REQUEST_COLUMNS), "runs": Rows(run_columns(1)), "transfers": Rows(TRANSFER_COLUMNS)}
    trace = write_trace(tmp_path / "t.json", empty, {})
    assert read(trace.path)["traceEvents"] == []
    assert trace.warnings == (f"{trace.path}: nothing happens from 0 s on; the trace is empty",)


@pytest.mark.parametrize("stretch", [1e-12, -1e-12])
def test_neighbours_that_share_a_border_do_not_overlap_by_rounding(stretch: float, tmp_path: Path) -> None:
    """Runs of half a microsecond and a little, whose ends and starts differ in their last bits."""
    length_s = 1.5e-6
    starts = [i * length_s * (1 + stretch) for i in range(1000)]
    run = whole_row(sequences=1, decoding=1, iterations=1, first_s=length_s)
    runs = rows_of(run_columns(1), *(run | {"start_s": start_s} for start_s in starts))
    rows = {"requests": Rows(REQUEST_COLUMNS), "runs": runs, "transfers": Rows(TRANSFER_COLUMNS)}
    write_trace(tmp_path / "t.json", rows, {})
    events = read(tmp_path / "t.json")["traceEvents"]
    check(events)
    assert sum(e["ph"] == "X" for e in events) == 1000
    # Nothing is taken for a rest between two runs but the end of the last.
    assert sum(e["ph"] == "C" and e["name"] == "running" and not e["args"]["sequences"] for e in events) == 1


BAD = {
    ("--trace-out", "t.txt"): r"t\.txt: expected a name that ends in \.json or \.json\.gz.*write e\.g\. t\.json\.gz",
    ("--trace-out", "nowhere/t.json"): "expected a folder to write the trace in, found none; name another file",
    ("--trace-out", "."): r"expected a name that ends in \.json",
    ("--trace-from", "3"): r"--trace-out: expected it beside --trace-from, found none; write e\.g\. trace\.json\.gz",
    ("--trace-max-events", "3"): "expected it beside --trace-max-events",
    (
        "--trace-out",
        "t.json",
        "--replications",
        "3",
    ): "expected one run, found 3 replications; leave out --repl.*--seed",
    ("--trace-out", "t.json", "--trace-from", "9", "--trace-until", "9"): "expected times from 0 on, the second after",
    ("--trace-out", "t.json", "--trace-from", "inf"): "expected times from 0 on",
    ("--trace-out", "t.json", "--trace-from", "nan"): "Invalid value for '--trace-from'",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_orders_are_refused_before_the_run(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ctxsim.cli.simulating.run_simulation", None)
    found = ctxsim("simulate", "mooncake-replay", *options)
    assert found.code == 2
    assert re.search(BAD[options], found.err), found.err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "t.json").mkdir()
    with pytest.raises(SpecError, match="found a folder of that name; name another"):
        write_trace(tmp_path / "t.json", {}, {})


def test_the_command_line_writes_it_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    words = ("simulate", "mooncake-replay", "--set", "serving.enable_prefix_caching=true", "--trace-out", str(path))
    found = ctxsim(*words)
    assert found.code == 0
    assert f"Trace written to {path}: open it in https://ui.perfetto.dev" in found.out
    trace = read(path)
    check(trace["traceEvents"])
    other = trace["otherData"]
    scenario = load_scenario("mooncake-replay", {"serving.enable_prefix_caching": True})
    assert (other["scenario"], other["scenario_sha256"], other["seed"]) == (scenario.name, scenario.sha256, 0)
    assert other["version"] == __version__
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    short = ctxsim(*words, "--trace-max-events", "50", "--json")
    assert "in 50 events at most; left out are" in json.loads(short.out)["warnings"][-1]
