"""The README's table of residency policies is what the commands give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctxsim.analysis import analyze
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
ROWS = {words[0]: words[1:] for words in re.findall(r"^\| (\w+) \| (.+) \| (.+) \| (.+) \| (.+) \|$", README, re.M)}
COLUMNS = {"yi-34b-50k-one-a100": (0, 1), "yi-34b-50k-a100": (2, 3)}


@pytest.mark.parametrize("policy", ["keep", "swap", "recompute", "cheapest"])
@pytest.mark.parametrize("name", COLUMNS)
def test_sessions_an_hour_and_their_bound(name: str, policy: str) -> None:
    scenario = load_scenario(name, {"serving.residency": policy})
    simulated, bound = (ROWS[policy][column] for column in COLUMNS[name])
    assert f"{analyze(scenario).keys['sessions_per_hour_bound']:.1f}" == bound
    assert f"{simulate(scenario).summary['sessions_per_hour']:.1f}" == simulated
    assert float(simulated) <= float(bound)


def test_what_the_text_below_the_table_says() -> None:
    one, two = (load_scenario(name) for name in COLUMNS)
    in_bf16 = load_scenario("yi-34b-50k-one-a100", {"serving.kv_dtype": "bf16"})
    held = [analyze(s).keys["concurrent_sessions"] for s in (in_bf16, one, two)]
    assert held == pytest.approx([0.66, 1.31, 6.93], abs=0.005)
    pays = analyze(two).keys["gap"]["break_even_idle_s"]
    assert pays == pytest.approx({"swap": 0.8, "recompute": 63}, rel=0.02)
