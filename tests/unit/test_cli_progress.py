"""The progress bar: only on a terminal, only for long runs; the count that it keeps either way."""

from __future__ import annotations

import io

import pytest

from ctxsim.cli import progress
from ctxsim.cli.progress import RunProgress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, patience_s: float, wanted: bool = True) -> str:
    """What a run of two requests writes to that stderr."""
    monkeypatch.setattr(progress, "PATIENCE_S", patience_s)
    monkeypatch.setattr("sys.stderr", stream)
    with RunProgress(2, wanted) as run:
        run.update(1)
        run.update(2)
    return stream.getvalue()


def test_a_long_run_on_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "requests" in shown(monkeypatch, Terminal(), patience_s=0)


def test_no_bar_in_a_pipe_in_a_short_run_or_when_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO(), patience_s=0) == ""
    assert shown(monkeypatch, Terminal(), patience_s=3600) == ""
    assert shown(monkeypatch, Terminal(), patience_s=0, wanted=False) == ""


def test_the_count_is_kept_without_a_bar() -> None:
    known, unknown = RunProgress(12_031, wanted=False), RunProgress(None, wanted=False)
    for run in (known, unknown):
        run.update(1_311)
    assert str(known) == "1,311 of 12,031 requests were finished"
    assert str(unknown) == "1,311 requests were finished"
