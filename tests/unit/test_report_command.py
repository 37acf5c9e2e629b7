"""The report command: of a scenario, of a saved simulation, of a plan; and what it refuses."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import REQUESTS, ctxsim

import ctxsim as cs
from ctxsim.cli.reporting import saved_simulation
from ctxsim.metrics.gaps import pauses_since
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

QUICK = ("--no-load-curve", "--workers", "1")


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The path of a small scenario."""
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    return str(path)


@pytest.fixture
def saved(scenario: str, tmp_path: Path) -> Path:
    """A folder that simulate --out wrote."""
    folder = tmp_path / "saved"
    assert ctxsim("simulate", scenario, "--out", str(folder), "--no-progress").code == 0
    return folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The JSON of a small plan, and the report that was made with it."""
    folder = tmp_path_factory.mktemp("plan")
    found = ctxsim(
        "plan", "yi-34b-50k-a100", "--users", "4", "--set", "run.horizon=10 min", "--tensor-parallel", "2",
        "--accelerators", "a100-80gb-sxm,h100-80gb-sxm", "--workers", "1", "--no-progress", "--json",
        "--report", str(folder / "report"),
    )  # fmt: skip
    assert found.code == 0, found.err
    (folder / "plan.json").write_text(found.out)
    return folder / "plan.json", folder / "report"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_names_what_was_written(scenario: str, tmp_path: Path) -> None:
    found = ctxsim("report", scenario, "-o", str(tmp_path / "out"), "--json", *QUICK)
    assert found.code == 0, found.err
    result = json.loads(found.out)["result"]
    assert result["page"] == str(tmp_path / "out" / "index.html")
    assert result["files"] == sorted(files_of(tmp_path / "out"))


def test_settings_and_command_are_on_the_page(scenario: str, tmp_path: Path) -> None:
    words = ("report", scenario, "--set", "serving.kv_dtype=fp8", "-o", str(tmp_path / "out"), *QUICK)
    assert ctxsim(*words).code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert f"ctxsim report {scenario} --set serving.kv_dtype=fp8 --no-load-curve -o reports/test" in page
    assert "kv_dtype: fp8" in page
    assert load_scenario(scenario, {"serving.kv_dtype": "fp8"}).sha256 in page
    assert 'id="load"' not in page


def test_a_saved_simulation_is_reported_as_it_was(saved: Path, scenario: str, tmp_path: Path) -> None:
    """Nothing is simulated again, and only what tells where it came from differs."""
    ctxsim("report", str(saved), "-o", str(tmp_path / "a"), *QUICK)
    ctxsim("report", scenario, "-o", str(tmp_path / "b"), *QUICK)
    a, b = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} <= {"index.html", "report.md"}
    texts = [(tmp_path / name / "report.md").read_text().split("## How this was made")[0] for name in "ab"]
    assert texts[0] == texts[1]


def test_a_saved_simulation_has_all_its_rows(tmp_path: Path) -> None:
    settings = {"run.horizon": "20 min", "run.warmup": "0 s", "workload.answer_tokens": 3000}
    made = simulate(load_scenario("yi-34b-50k-a100", settings))
    cs.simulate(cs.load("yi-34b-50k-a100", settings), out=tmp_path)
    found = saved_simulation(tmp_path)
    assert found.scenario == made.scenario
    assert found.summary == made.summary
    assert len(made.gaps)
    assert list(pauses_since(found.gaps, 0.0)) == list(pauses_since(made.gaps, 0.0))


def test_a_plan_is_reported_with_its_json_or_later(plan: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> None:
    source, report = plan
    monkeypatch.chdir(source.parent)
    assert ctxsim("report", "plan.json", "-o", str(tmp_path / "again"), "--workers", "1").code == 0
    assert files_of(tmp_path / "again") == files_of(report)


def test_a_plans_page_answers_the_planner(plan: tuple[Path, Path]) -> None:
    source, report = plan
    result = json.loads(source.read_text())["result"]
    page = (report / "index.html").read_text()
    first_screen = page[: page.index("<figure")]
    assert "What is the cheapest fleet for 4 users with documents of 50,000 tokens" in first_screen
    for words in ("Runner-up", "What breaks first", "Confidence", "Half the cost", "Serves up to", "Checked how far"):
        assert words in first_screen
    assert f"for {result['chosen']['usd_per_hour']:,.2f} USD an hour." in first_screen
    assert f"{result['saturation']['load']:,g} users" in first_screen
    assert 'id="choices"' in page
    made = re.search(r"ctxsim plan yi-34b-50k-a100 [^\n]* --json &gt; plan.json", page)
    assert made
    assert "--set &#39;run.horizon=10 min&#39; --users 4 --accelerators a100-80gb-sxm,h100-80gb-sxm" in made[0]


def test_the_command_on_the_page_asks_for_the_same_plan(plan: tuple[Path, Path]) -> None:
    envelope = json.loads(plan[0].read_text())
    name, *words = envelope["result"]["command"]
    assert name == "ctxsim"
    again = json.loads(ctxsim(*words, "--workers", "1", "--no-progress", "--json").out)
    assert again["result"] == envelope["result"]


def test_what_is_no_plan_is_refused(tmp_path: Path, plan: tuple[Path, Path]) -> None:
    envelope = json.loads(plan[0].read_text())
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(envelope | {"schema": "ctxsim.plan/2"}))
    found = ctxsim("report", str(newer), "-o", str(tmp_path / "out"))
    assert found.code == 2
    assert "expected a plan (ctxsim.plan/1), found schema 'ctxsim.plan/2'" in found.err
    del envelope["result"]["chosen"]["scenario_yaml"]
    older = tmp_path / "older.json"
    older.write_text(json.dumps(envelope))
    found = ctxsim("report", str(older), "-o", str(tmp_path / "out"))
    assert found.code == 2
    assert "found one without 'scenario_yaml'" in found.err
    none = {"feasible": False, "infeasible_reason": "no fleet meets the SLO"}
    (tmp_path / "none.json").write_text(json.dumps(envelope | {"result": none}))
    found = ctxsim("report", str(tmp_path / "none.json"), "-o", str(tmp_path / "out"))
    assert found.code == 3
    assert "no fleet meets the SLO" in found.err
    assert not (tmp_path / "out").exists()


def test_what_is_done_takes_no_settings(saved: Path, plan: tuple[Path, Path], tmp_path: Path) -> None:
    for subject in (saved, plan[0]):
        found = ctxsim("report", str(subject), "--set", "run.seed=3", "-o", str(tmp_path / "out"))
        assert found.code == 2
        assert "leave --set out, or name a scenario" in found.err


def test_sensitivity_is_simulated_where_asked(scenario: str, tmp_path: Path) -> None:
    found = ctxsim("report", scenario, "--sensitivity", "simulate", "-o", str(tmp_path / "out"), *QUICK)
    assert found.code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "those of simulations under this load, with the same draws, each number made 1.25 times larger" in page
    assert "of the tightest bound, each number" not in page
    assert "--sensitivity simulate" in page


def test_means_of_replications_have_no_rows_to_draw(scenario: str, tmp_path: Path) -> None:
    folder = tmp_path / "means"
    words = ("simulate", scenario, "--replications", "2", "--out", str(folder), "--no-progress")
    assert ctxsim(*words).code == 0
    found = ctxsim("report", str(folder), "-o", str(tmp_path / "out"))
    assert found.code == 2
    assert "the means of 2 replications, which have no requests, runs or copies of their own to draw" in found.err
    assert f"name one of them, e.g. {folder / 'replication-000'}" in found.err
    assert ctxsim("report", str(folder / "replication-000"), "-o", str(tmp_path / "out"), *QUICK).code == 0


def test_pdf_without_its_extra_says_how_to_get_it(scenario: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Before anything is simulated or written."""
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "weasyprint":
            raise ImportError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("ctxsim.reporting.subject.simulate", None)
    found = ctxsim("report", scenario, "--pdf", "-o", str(tmp_path / "out"))
    assert found.code == 5
    assert 'pip install "ctxsim[pdf]"' in found.err
    assert not (tmp_path / "out").exists()


def test_pdf_is_the_same_bytes(scenario: str, tmp_path: Path) -> None:
    pytest.importorskip("weasyprint", reason="needs the extra pdf")
    for name in "ab":
        assert ctxsim("report", scenario, "--pdf", "-o", str(tmp_path / name), *QUICK).code == 0
    made = [(tmp_path / name / "report.pdf").read_bytes() for name in "ab"]
    assert made[0].startswith(b"%PDF")
    assert made[0] == made[1]


def test_a_place_that_cannot_be_written_to(scenario: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = ctxsim("report", scenario, "-o", str(tmp_path / "file" / "out"), *QUICK)
    assert found.code == 2
    assert "expected a folder for a report" in found.err


def test_unknown_scenario_is_named(tmp_path: Path) -> None:
    found = ctxsim("report", "yi-34b-50k-a10", "-o", str(tmp_path))
    assert found.code == 2
    assert "did you mean" in found.err
