"""Tasks run here, in other processes or on a Dask cluster, with the same answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
from exploring import POISSON, document

from ctxsim.errors import MissingExtraError, SpecError
from ctxsim.explore import executors, grid_points, parse_axis, sweep
from ctxsim.explore.executors import answers, dask, local

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="needs the extra dask (Dask distributed)")


@dataclass(frozen=True)
class Square:
    n: int

    def run(self):
        if self.n < 0:
            raise KeyboardInterrupt
        return self.n**2


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_the_order_of_their_tasks(workers):
    assert answers([Square(n) for n in range(7)], local(workers)) == [n**2 for n in range(7)]
    assert answers([], local(workers)) == []


def test_one_process_answers_one_by_one():
    """What came before an interrupt is not lost with its chunk."""
    run = local(1)([[(0, Square(2)), (1, Square(-1))]])
    assert next(run) == (0, 4)
    with pytest.raises(KeyboardInterrupt):
        next(run)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ctxsim\[dask\]"'):
        dask("tcp://127.0.0.1:1")


@needs_dask
def test_a_scheduler_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(executors, "PATIENCE_S", 0.5)
    with pytest.raises(SpecError, match=r"expected a Dask scheduler at tcp://127\.0\.0\.1:9, found none"):
        list(dask("tcp://127.0.0.1:9")([[(0, Square(1))]]))


@needs_dask
def test_a_dask_cluster_gives_the_same_bytes(tmp_path, monkeypatch):
    from distributed import LocalCluster

    base = document(tmp_path, POISSON)
    points = grid_points([parse_axis("workload.arrival.rate=1 /s:4 /s:4"), parse_axis("serving.kv_dtype=bf16,fp8")])
    sweep(base, points, folder=tmp_path / "here", replications=2)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = dask(cluster.scheduler_address)
        sweep(base, points, folder=tmp_path / "there", replications=2, executor=there)
        monkeypatch.setattr(executors, "__version__", "0.0.0")
        with pytest.raises(SpecError, match=r"expected ctxsim 0\.0\.0 on every worker, found"):
            list(there([[(0, Square(1))]]))
    here, there_written = ((tmp_path / name / "points.parquet").read_bytes() for name in ("here", "there"))
    assert here == there_written
    assert {p.name for p in (tmp_path / "here" / "parts").iterdir()} == {
        p.name for p in (tmp_path / "there" / "parts").iterdir()
    }


@needs_dask
def test_a_cluster_without_workers_is_said(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(executors, "PATIENCE_S", 2)
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(SpecError, match=r"expected workers at .*, found none; start some with: dask worker"),
    ):
        list(dask(cluster.scheduler_address)([[(0, Square(1))]]))


def test_processes_stay_until_a_task_fails():
    run = local(2)
    pids = {pid for _ in range(2) for _, pid in run([[(n, Pid())] for n in range(4)])}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    with pytest.raises(ZeroDivisionError):
        list(run([[(0, Broken())], [(1, Pid())]]))
    third = dict(run([[(n, Pid())] for n in range(4)]))
    assert not pids & set(third.values())


@dataclass(frozen=True)
class Pid:
    def run(self):
        return os.getpid()


@dataclass(frozen=True)
class Broken:
    def run(self):
        return 1 // 0
