"""The report page, and the documents that are generated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ctxsim.analysis import analyze
from ctxsim.paper import PRINTED, paper_markdown, paper_rows
from ctxsim.reporting import write_report
from ctxsim.reporting.page import render
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import load_scenario
from ctxsim.units import show

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
    assert small_page.count("<svg") == 4


def test_page_answers_first_and_warns(small_page: str) -> None:
    first_screen = small_page[: small_page.index("<figure>")]
    for words in ("Concurrency", "Prefill", "Decode", "Context switch", "sessions per hour", "USD per session"):
        assert words in first_screen
    assert "swap has no host memory to swap to" in first_screen


def test_infeasible_page_says_why_and_simulates_nothing(tmp_path: Path) -> None:
    page = write_report(load_scenario("paper-34b-100k"), tmp_path).read_text()
    assert "Infeasible: one session needs 24.58 GB of KV cache" in page
    assert "Simulated latency" not in page
    assert page.count("<svg") == 1


def test_every_drawing_says_what_it_shows(small_page: str) -> None:
    """In words below it, and in others for whoever cannot see it."""
    figures = re.findall(r"<figure>(.*?)</figure>", small_page, re.DOTALL)
    assert len(figures) == 4
    for figure in figures:
        said = re.findall(r'<svg role="img" aria-label="([^"]+)"', figure)
        shown = re.findall(r"<figcaption>([^<]+)</figcaption>", figure)
        assert len(said) == len(shown) == 1
        assert said[0].endswith(".")
        assert said != shown
    assert "At 2,048 tokens 226.5 sessions fit" in small_page
    assert re.search(r"Time to first token: median 1\d\d\.?\d* ms, 99 % within", small_page)


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[str, Simulation]]:
    """The page of each policy, and the simulation it shows."""
    found = {}
    for name, settings in SETTINGS.items():
        scenario = load_scenario("yi-34b-50k-a100", {"run.horizon": "8 min"} | settings)
        simulation = simulate(scenario)
        found[name] = render(analyze(scenario), simulation), simulation
    return found


SETTINGS: dict[str, dict[str, Any]] = {
    "recompute": {"serving.residency": "recompute"},
    "inclusive": {"serving.host_tier": "inclusive"},
    "preempting": {
        "workload.answer_tokens": 3000,
        "run.horizon": "20 min",
        "serving.disk_kv_capacity": "1 TiB",
        "serving.host_kv_capacity": "64 GiB",
    },
}


def cell(page: str, name: str) -> str:
    """What stands beside a name in a table of two columns."""
    rows = re.findall(rf'<td class="text">{re.escape(name)}[^<]*</td><td>([^<]*)</td>', page)
    assert len(rows) == 1, name
    found: str = rows[0]
    return found


@pytest.mark.parametrize("policy", SETTINGS)
def test_page_shows_residency(policy: str, pages: dict[str, tuple[str, Simulation]]) -> None:
    page, simulation = pages[policy]
    summary = simulation.summary
    shares = [cell(page, name) for name in ("found in HBM", "found in host memory", "found on disk", "computed again")]
    assert shares[:3] == [f"{ratio:.2%}" for ratio in summary["kv_hit_ratio"].values()]
    assert sum(float(share.removesuffix("%")) for share in shares) == pytest.approx(100, abs=0.03)
    assert cell(page, "copied into HBM") == show(summary["swap_in_bytes"], "bytes")
    assert cell(page, "copied out of HBM") == show(summary["swap_out_bytes"], "bytes")
    costs = summary["gap_cost_usd"]
    assert cell(page, "contention-free bound of") == f"{costs['bound_usd']:.4g} USD"
    assert f"bound of {costs['gaps']:,} gaps" in page
    assert cell(page, "all gaps") == f"{costs['total_usd']:.4g} USD"
    assert cell(page, "above the bound") == f"{costs['regret_usd']:.4g} USD"


def test_captions_own_up_to_what_is_not_known(pages: dict[str, tuple[str, Simulation]]) -> None:
    pale = "Pale: where that turn found it"
    inclusive, preempted = "it may have been in HBM as well", "were preempted, of which no times are recorded"
    expected = {
        "recompute": [pale],
        "inclusive": [pale, inclusive],
        "preempting": [preempted],
    }
    for policy, (page, _) in pages.items():
        said = [words for words in (pale, inclusive, preempted) if words in page]
        assert said == [words for words in (pale, inclusive, preempted) if words in expected[policy]], policy


def test_a_page_of_nothing_but_refusals(tmp_path: Path) -> None:
    page = write_report(load_scenario("mooncake-replay", {"serving.max_model_len": 600}), tmp_path).read_text()
    assert page.count("<svg") == 1
    assert "20 requests are longer than max_model_len (600 tokens)" in page


def test_nothing_to_keep_no_section_about_it(small_page: str) -> None:
    assert "KV between turns" not in small_page
    assert "KV over time" in small_page


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
