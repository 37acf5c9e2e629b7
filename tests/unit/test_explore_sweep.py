"""Sweeps: each point answered once, the same bytes whoever works, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import environment
from exploring import POISSON, document, small, small_file

from ctxsim.errors import SpecError
from ctxsim.explore import Trial, grid_points, parse_axis, sweep
from ctxsim.explore.executors import local
from ctxsim.explore.sweep import InterruptedSweepError, scenarios_of
from ctxsim.spec.scenario import document_of

GRID = [parse_axis("workload.users=2,4,6"), parse_axis("serving.kv_dtype=bf16,fp8")]


def counting(done):
    """An executor that writes down what it was given."""

    def run(chunks):
        for chunk in chunks:
            for number, task in chunk:
                done.append(number)
                yield number, task.run()

    return run


def test_every_point_is_a_row_in_order(tmp_path):
    found = sweep(document(tmp_path), grid_points(GRID))
    assert [(row["workload.users"], row["serving.kv_dtype"]) for row in found.rows] == [
        (users, dtype) for users in (2, 4, 6) for dtype in ("bf16", "fp8")
    ]
    assert [row["point"] for row in found.rows] == list(range(6))
    assert found.complete
    row = found.rows[3]
    scenario = small(tmp_path, {"workload.users": 4, "serving.kv_dtype": "fp8"})
    assert row["scenario_sha256"] == scenario.sha256
    assert row | Trial(scenario).run().row == row


def test_what_is_refused_or_infeasible_is_a_row_with_its_reason(tmp_path):
    axes = [parse_axis("serving.kv_dtype=bf16,fp7"), parse_axis("serving.num_gpu_blocks_override=10,null")]
    found = sweep(document(tmp_path), grid_points(axes), by="analyze")
    assert [row["status"] for row in found.rows] == ["infeasible", "ok", "refused", "refused"]
    assert "serving.kv_dtype: expected one of" in found.rows[2]["reason"]
    assert "scenario_sha256" in found.rows[2]
    assert found.rows[0]["reason"]
    # Numbers and null in one column are told as text.
    assert [row["serving.num_gpu_blocks_override"] for row in found.rows] == ["10", "null"] * 2


def test_equal_points_are_answered_once_and_known_ones_not_at_all(tmp_path):
    points = grid_points([parse_axis("serving.host_kv_capacity=20 GB,20000 MB,10 GB")])
    done: list[int] = []
    told = []
    first = sweep(document(tmp_path), points, executor=counting(done), folder=tmp_path / "kept",
                  progress=lambda n, of: told.append((n, of)))  # fmt: skip
    assert done == [0, 2]
    assert told == [(0, 3), (2, 3), (3, 3)]
    assert first.known == 0
    written = (tmp_path / "kept" / "points.parquet").read_bytes()
    again = sweep(document(tmp_path), points, executor=counting(done), folder=tmp_path / "kept")
    assert done == [0, 2]
    assert again.known == 3
    assert list(again.rows) == list(first.rows)
    assert (tmp_path / "kept" / "points.parquet").read_bytes() == written
    # Another sweep that shares points finds them too.
    more = sweep(document(tmp_path), grid_points([parse_axis("serving.host_kv_capacity=10 GB,5 GB")]),
                 executor=counting(done), folder=tmp_path / "kept")  # fmt: skip
    assert more.known == 1
    assert done == [0, 2, 1]


def test_an_interrupted_sweep_keeps_what_was_answered(tmp_path):
    def interrupted(chunks):
        yield from counting([])(chunks[:2])
        raise KeyboardInterrupt

    points = grid_points(GRID)
    with pytest.raises(InterruptedSweepError) as caught:
        sweep(document(tmp_path), points, executor=interrupted, folder=tmp_path / "kept")
    statuses = [row["status"] for row in caught.value.sweep.rows]
    assert statuses == ["ok", "ok"] + ["waiting"] * 4
    assert not caught.value.sweep.complete
    done: list[int] = []
    rest = sweep(document(tmp_path), points, executor=counting(done), folder=tmp_path / "kept")
    assert done == [2, 3, 4, 5]
    assert rest.known == 2
    whole = sweep(document(tmp_path), points, folder=tmp_path / "other")
    assert list(rest.rows) == list(whole.rows)
    names = ("kept", "other")
    assert len({(tmp_path / name / "points.parquet").read_bytes() for name in names}) == 1


def test_workers_do_not_change_a_byte(tmp_path):
    base = document(tmp_path, POISSON)
    points = grid_points([parse_axis("workload.arrival.rate=1 /s:4 /s:4")])
    written = set()
    for workers in (1, 2):
        sweep(base, points, replications=2, executor=local(workers), folder=tmp_path / str(workers))
        written.add((tmp_path / str(workers) / "points.parquet").read_bytes())
    assert len(written) == 1


def killed_after(parts, points, command):
    """Starts the command and kills it when so many points are answered; returns its worker processes."""
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and len(list(parts.glob("*.parquet"))) < points:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return workers


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_sweep_that_was_killed_goes_on_where_it_was(tmp_path):
    words = [
        "sweep",
        str(small_file(tmp_path)),
        "--vary",
        "run.seed=1:60:60",
        "--workers",
        "2",
        "-o",
        str(tmp_path / "k"),
    ]
    parts = tmp_path / "k" / "parts"
    workers = killed_after(parts, 3, [sys.executable, "-m", "ctxsim", *words])
    answered = {path.stem for path in parts.glob("*.parquet") if not path.name.startswith(".")}
    assert 3 <= len(answered) < 60
    done: list[int] = []
    points = grid_points([parse_axis("run.seed=1:60:60")])
    found = sweep(document(tmp_path), points, executor=counting(done), folder=tmp_path / "k")
    assert found.known == len(answered)
    assert len(done) == 60 - len(answered)
    assert found.complete
    # Nobody is left behind who would work for nobody.
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s and any(map(is_running, workers)):
        time.sleep(0.1)
    assert not any(map(is_running, workers))


def test_scenarios_of_settings_name_the_faults_of_all(tmp_path):
    with pytest.raises(SpecError) as caught:
        scenarios_of(document(tmp_path), [(), (("workload.users", 0),), (("model", "nothing"),)])
    assert len(caught.value.faults) == 2


def test_a_scenario_knows_what_it_was_resolved_from(tmp_path):
    scenario = small(tmp_path, {"workload.users": 3})
    assert scenarios_of(document_of(scenario), [()]) == [scenario]
    from ctxsim.sim.replications import reseeded

    with pytest.raises(SpecError, match="found one that was changed since; load it with overrides instead"):
        document_of(reseeded(scenario, 99))
