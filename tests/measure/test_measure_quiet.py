"""What other processes take of the processor; nothing here needs torch."""

from __future__ import annotations

import os

import pytest

from ctxsim.measure import quiet
from ctxsim.measure.quiet import Others, machine_busy_s, own_busy_s

SECOND = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A system of which the test says how long it and its own process were busy, ten seconds after the beginning."""

    class System:
        def passes(self, machine_s: float, own_s: float) -> bool:
            self.at(0.0, 100.0, 20.0)
            others = Others()
            self.at(10.0, 100.0 + machine_s, 20.0 + own_s)
            return others.disturb()

        def at(self, now_s: float, machine_s: float, own_s: float) -> None:
            ticks = int(machine_s * SECOND)
            stat = tmp_path / "stat"
            # user, nice, system, idle, disk wait, interrupts (two kinds), stolen, and guests, which user has too
            stat.write_text(f"cpu  {ticks - 6} 1 2 5000 700 1 1 1 99 99\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
            monkeypatch.setattr(quiet, "_STAT", stat)
            monkeypatch.setattr(quiet, "own_busy_s", lambda: own_s)
            monkeypatch.setattr(quiet.time, "perf_counter", lambda: now_s)

    return System()


@pytest.mark.parametrize(
    ("machine_s", "own_s", "disturbed"),
    [(20.0, 20.0, False), (20.5, 20.0, False), (22.0, 20.0, True), (8.0, 5.0, True)],
)
def test_others_are_what_the_machine_did_beyond_ourselves(system, machine_s, own_s, disturbed):
    assert system.passes(machine_s, own_s) is disturbed


def test_nothing_is_said_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "_STAT", tmp_path / "none")
    assert machine_busy_s() is None
    assert not Others().disturb()


def test_own_work_counts_as_own():
    before_s = own_busy_s()
    while own_busy_s() < before_s + 0.02:
        pass
    assert own_busy_s() > before_s


def test_waiting_ends_with_the_first_quiet_moment(monkeypatch):
    moments = iter((True, True, False))
    slept = []
    monkeypatch.setattr(Others, "disturb", lambda self: next(moments))
    monkeypatch.setattr(quiet.time, "sleep", slept.append)
    quiet.wait_until_quiet(60.0)
    assert len(slept) == 3


def test_waiting_ends_in_time(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(quiet.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(Others, "disturb", lambda self: True)
    monkeypatch.setattr(quiet.time, "sleep", lambda seconds: None)
    quiet.wait_until_quiet(10.0)
    assert next(clock) < 20
