"""Every command of the cookbook runs, and prints every line that the cookbook shows, in its order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ctxsim.cli.app import run

COOKBOOK = (Path(__file__).resolve().parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n\$ ctxsim (.*?)\n(.*?)^```$", COOKBOOK, re.M | re.S)
RULE = re.compile(r"^[ ─]*$")


def test_there_are_ten_questions_at_least():
    assert len(BLOCKS) >= 10
    assert len(BLOCKS) == len(re.findall(r"^## ", COOKBOOK, re.M))


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command.split()[0] for command, _ in BLOCKS])
def test_a_question_is_answered_as_shown(command, shown, tmp_path, capfd):
    run(shlex.split(command.replace("DIR", str(tmp_path))))
    out, err = capfd.readouterr()
    printed = iter(line.rstrip() for line in f"{out}{err}".replace(str(tmp_path), "DIR").splitlines())
    for line in shown.splitlines():
        if not RULE.match(line):
            assert any(line == found for found in printed), f"not printed, or not in this place: {line}"
