"""The report page, and the documents that are generated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctxsim.paper import PRINTED, paper_markdown, paper_rows
from ctxsim.reporting import write_report
from ctxsim.spec.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    scenario = load_scenario("llama-8b-chat", {"workload.num_requests": 60})
    return write_report(scenario, tmp_path_factory.mktemp("small")).read_text()


def test_same_scenario_same_bytes(small_page: str, tmp_path: Path) -> None:
    again = write_report(load_scenario("llama-8b-chat", {"workload.num_requests": 60}), tmp_path / "new")
    assert again.read_text() == small_page


def test_another_scenario_is_another_page(small_page: str, tmp_path: Path) -> None:
    other = load_scenario("llama-8b-chat", {"workload.num_requests": 61})
    assert write_report(other, tmp_path).read_text() != small_page


def test_page_needs_nothing_from_elsewhere(small_page: str) -> None:
    assert not re.findall(r"<(?:script|link|img|iframe)\b", small_page)
    assert not re.findall(r"""(?:src|href)="https?:""", small_page)
    assert small_page.count("<svg") == 3


def test_page_answers_first_and_warns(small_page: str) -> None:
    first_screen = small_page[: small_page.index("<figure>")]
    for words in ("Concurrency", "Prefill", "Decode", "Context switch", "sessions per hour", "USD per session"):
        assert words in first_screen
    assert "prefixes are not shared between requests" in first_screen


def test_infeasible_page_says_why_and_simulates_nothing(tmp_path: Path) -> None:
    page = write_report(load_scenario("paper-34b-100k"), tmp_path).read_text()
    assert "Infeasible: one session needs 24.58 GB of KV cache" in page
    assert "Simulated latency" not in page
    assert page.count("<svg") == 1


def test_paper_document_is_current() -> None:
    assert (ROOT / "docs" / "paper.md").read_text() == paper_markdown()


def test_every_printed_number_stands_beside_its_formula() -> None:
    rows = {(row.case, row.key): row for row in paper_rows() if row.printed is not None}
    assert set(rows) == set(PRINTED)
    for key, row in rows.items():
        assert row.deviation_ratio == pytest.approx((PRINTED[key].value - row.value) / row.value)


def test_readme_shows_real_output(capsys: pytest.CaptureFixture[str]) -> None:
    from ctxsim.cli.app import run

    readme = (ROOT / "README.md").read_text()
    block = readme.split("$ ctxsim analyze yi-34b-50k-a100\n", 1)[1].split("```", 1)[0]
    assert run(["analyze", "yi-34b-50k-a100"]) == 0
    assert block.strip() in capsys.readouterr().out
    assert block.count("binds") == 4
