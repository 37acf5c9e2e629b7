"""The command line as a whole: the JSON envelope, text, help, faults of ours, closed pipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from command_line import answer, ctxsim, environment, process

from ctxsim import __version__
from ctxsim.cli import listings
from ctxsim.errors import MissingExtraError

COMMANDS = (
    ("hardware", "list"),
    ("hardware", "list", "--hosts"),
    ("hardware", "show", "h200-sxm"),
    ("model", "list"),
    ("model", "show", "gemma-3-27b"),
    ("analyze", "yi-34b-50k-a100"),
    ("simulate", "mooncake-replay"),
    ("schema", "scenario"),
    ("paper",),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_the_envelope(words: tuple[str, ...]) -> None:
    found = answer(*words)
    assert list(found) == ["schema", "version", "scenario_sha256", "warnings", "result", "meta"]
    assert found["schema"] == f"ctxsim.{words[0]}/1"
    assert found["version"] == __version__
    assert set(found["meta"]) == {"wall_s", "peak_rss_bytes"}
    assert found["meta"]["wall_s"] > 0
    assert 10_000_000 < found["meta"]["peak_rss_bytes"] < 10**11
    if words[0] in ("analyze", "simulate"):
        assert re.fullmatch("[0-9a-f]{64}", found["scenario_sha256"])
    else:
        assert found["scenario_sha256"] is None


@pytest.mark.parametrize("words", [("analyze", "yi-34b-50k-a100"), ("simulate", "mooncake-replay")], ids=" ".join)
def test_all_but_meta_is_the_same_bytes_in_every_process(words: tuple[str, ...]) -> None:
    texts = [process([*words, "--json"]).stdout.partition('"meta"')[0] for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0] == ctxsim(*words, "--json").out.partition('"meta"')[0]


def test_digest_follows_the_contents() -> None:
    plain = answer("analyze", "paper-34b-50k")["scenario_sha256"]
    assert answer("analyze", "paper-34b-50k", "--set", "fidelity=peak")["scenario_sha256"] == plain
    assert answer("analyze", "paper-34b-50k", "--set", "serving.kv_dtype=fp8")["scenario_sha256"] != plain


@pytest.mark.parametrize("words", [c for c in COMMANDS if c[0] != "schema"], ids=" ".join)
def test_text_is_at_most_100_columns_wide_and_uncoloured_in_a_pipe(words: tuple[str, ...]) -> None:
    text = ctxsim(*words).out
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    assert "…" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_help_and_version() -> None:
    for words in (("--help",), ("-h",), ("analyze", "--help"), ("hardware", "-h"), ("model", "show", "--help")):
        outcome = ctxsim(*words)
        assert outcome.code == 0
        assert outcome.out.startswith("Usage: ctxsim")
    assert "Exit codes: 0 ok" in ctxsim("--help").out
    assert ctxsim("--version").out == f"{__version__}\n"
    assert process(["--version"]).stdout == f"{__version__}\n"


@pytest.mark.parametrize("words", [(), ("hardware",), ("model",)])
def test_a_command_that_is_missing_shows_the_help(words: tuple[str, ...]) -> None:
    outcome = ctxsim(*words)
    assert outcome.code == 2
    assert "Commands:" in outcome.err


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(listings, "model_rows", broken)
    line = "this is a fault of ctxsim: ZeroDivisionError: division by zero; please report"
    outcome = ctxsim("model", "list")
    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"{line}\n")
    for words in (("model", "list", "--debug"), ("--debug", "model", "list")):
        debugged = ctxsim(*words)
        assert debugged.code == 1
        assert "Traceback (most recent call last)" in debugged.err
        assert debugged.err.endswith(f"{line}\n")
    error = json.loads(ctxsim("model", "list", "--json").out)["error"]
    assert error == {"code": 1, "message": line, "faults": []}


def test_a_missing_extra_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise MissingExtraError("fit", "calibration")

    monkeypatch.setattr(listings, "model_rows", lacking)
    outcome = ctxsim("model", "list")
    assert outcome.code == 5
    assert outcome.err == 'calibration needs the extra "fit"; install it with: pip install "ctxsim[fit]"\n'


@pytest.mark.parametrize("words", [("model", "list"), ("analyze", "gone.yaml", "--json")], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_fault(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "ctxsim", *words]
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    said = child.stderr.read()
    child.stderr.close()
    assert child.wait() == (2 if "analyze" in words else 0)
    assert said == ""
