"""Reports: the same content as page, Markdown and data; and the documents that are generated."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

from ctxsim.human import human
from ctxsim.paper import PRINTED, paper_markdown, paper_rows
from ctxsim.reporting import Subject, study, write_report
from ctxsim.reporting.blocks import Code, Labelled, Numbers, Picture, Sheet, Warnings, Words
from ctxsim.reporting.writing import compose
from ctxsim.spec.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"workload.num_requests": 60}
COMMAND = ["ctxsim", "report", "it's <b>"]


def subject_of(name: str, settings: dict[str, Any], other_loads: bool = False) -> Subject:
    return study(load_scenario(name, settings), COMMAND, other_loads=other_loads)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small() -> Subject:
    return subject_of("llama-8b-chat", SMALL, other_loads=True)


@pytest.fixture(scope="module")
def folder(small: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(small, tmp_path_factory.mktemp("small")).parent


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "index.html").read_text()


def test_same_scenario_same_bytes_everywhere(folder: Path, tmp_path: Path) -> None:
    again = write_report(subject_of("llama-8b-chat", SMALL, other_loads=True), tmp_path / "new").parent
    assert files_of(again) == files_of(folder)
    assert {"index.html", "report.md", "data/load.csv", "data/load.parquet"} < set(files_of(folder))


def test_another_scenario_is_another_page(page: str, tmp_path: Path) -> None:
    other = subject_of("llama-8b-chat", {"workload.num_requests": 61})
    assert write_report(other, tmp_path).read_text() != page


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.findall(r"<(?:link|img|iframe|object|embed)\b|@import|<script [^>]*src", page)
    assert not re.findall(r"""(?:src|href)="(?!#)""", page)
    assert not re.findall(r"url\((?!#)", page)


def test_ids_are_unique_and_colours_can_be_set(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert not re.findall(r"(?:fill|stroke): #", page)
    variables = set(re.findall(r"var\((--fig-[a-z]+)", page))
    assert variables
    for name in variables:
        assert page.count(f"{name}: #") == 2  # on paper, and on a dark screen


def test_every_drawing_says_what_it_shows(page: str) -> None:
    """In words below it, and in others for whoever cannot see it."""
    figures = re.findall(r"<figure[^>]*>(.*?)</figure>", page, re.DOTALL)
    assert len(figures) == 8
    for figure in figures:
        said = re.findall(r'<svg role="img" aria-label="([^"]+)"', figure)
        assert len(said) == figure.count("<svg")
        assert all(words.endswith(".") for words in said)
        (shown,) = re.findall(r"<figcaption>([^<]+)</figcaption>", figure)
        assert shown not in said


def test_the_answer_comes_first(page: str) -> None:
    first_screen = page[: page.index("<figure")]
    for words in ("Can 1 replica of 1 x", "within TTFT p95", "Sessions an hour", "A session", "What binds", "Yes: "):
        assert words in first_screen
    assert "swap has no host memory to swap to" in first_screen


def test_names_are_text(tmp_path: Path) -> None:
    """Whatever a scenario is called, neither page nor Markdown takes it for markup."""
    name = '<script>alert("x")</script> | `code` *bold* [a](b) {{ 7 * 7 }}'
    written = write_report(subject_of("paper-34b-100k", {"name": name}), tmp_path)
    text = written.read_text()
    assert "<script>alert" not in text
    assert html.escape(name, quote=False).replace('"', "&#34;") in text
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render((tmp_path / "report.md").read_text())
    assert "<script>alert" not in rendered
    assert name in html.unescape(re.sub(r"<[^>]+>", "", rendered))


def plain(text: str) -> str:
    """Text without markup and without how it is laid out."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def said_by(report_folder: Path, subject: Subject) -> Iterator[str]:
    """Every piece of text of a report's blocks."""
    for section in compose(subject).sections:
        for block in section.blocks:
            match block:
                case Words():
                    yield block.text
                case Numbers():
                    yield from (part for number in block.numbers for part in number[:3])
                case Labelled():
                    yield from (part for pair in block.sentences.items() for part in pair)
                case Sheet():
                    yield block.heading
                    yield from (column.head for column in block.columns)
                    yield from (text for row in block.cells for _, text, _ in row)
                case Picture():
                    yield block.caption
                case Code():
                    yield from (block.title, block.text)
                case Warnings():
                    yield from block.sentences


def test_markdown_and_page_have_the_same_content(folder: Path, small: Subject, page: str) -> None:
    markdown = MarkdownIt("gfm-like", {"linkify": False}).render((folder / "report.md").read_text())
    on_page, in_markdown = plain(page), plain(markdown)
    pieces = [" ".join(text.split()) for text in said_by(folder, small)]
    assert len(pieces) > 400
    for piece in pieces:
        assert piece in on_page
        assert piece in in_markdown
    assert re.findall(r"^## (.+)$", (folder / "report.md").read_text(), re.MULTILINE) == [
        "Answer",
        *re.findall(r"<h2>([^<]+)</h2>", page),
    ]
    images = re.findall(r"\]\((figures/[^)]+)\)", (folder / "report.md").read_text())
    assert len(images) == page.count("<svg") == len(set(images))
    assert all((folder / image).is_file() for image in images)


def test_data_are_the_numbers_on_the_page(folder: Path, page: str) -> None:
    """By table: what the page sorts by, what CSV has, what Parquet has; and what is read is what that comes to."""
    tables = re.findall(r"<caption>([^<]+)</caption>(.*?)</table>", page, re.DOTALL)
    by_title = {}
    for path in sorted((folder / "data").glob("*.parquet")):
        by_title[pq.read_schema(path).metadata[b"title"].decode()] = path
    assert len(tables) == 11
    for caption, body in tables:
        title = html.unescape(caption).removesuffix(", USD")
        parquet = pq.read_table(by_title[title])
        names = parquet.column_names
        rows = re.findall(r"<tr>(<td.*?)</tr>", body)
        found = [re.findall(r'<td[^>]*data-key="([^"]*)">([^<]*)</td>', row) for row in rows]
        with by_title[title].with_suffix(".csv").open() as file:
            head, *lines = list(csv.reader(file))
        assert head == names
        assert lines == [[html.unescape(key) for key, _ in row] for row in found]
        for name, *cells in zip(names, *found, strict=True):
            for value, (key, text) in zip(parquet[name].to_pylist(), cells, strict=True):
                assert (key == "") if value is None else key == str(html.escape(str(value)))
                shown = human(name, value)
                assert html.unescape(text) in (shown, shown.removesuffix(" USD"))


def test_money_on_the_page_is_that_of_the_summary(small: Subject, folder: Path) -> None:
    table = pq.read_table(folder / "data" / "money.parquet").to_pydict()
    money = small.summary["money"]
    assert table["bill_usd"][:-1] == list(money["parts_usd"].values())
    assert table["bill_usd"][-1] == money["bill_usd"]
    assert sum(table["bill_usd"][:-1]) == pytest.approx(money["bill_usd"], rel=1e-9)
    assert table["per_session_usd"][-1] == small.summary["cost_usd_per_session"]
    assert 0 < small.summary["money"]["session_usd"]["mean"] < small.summary["cost_usd_per_session"]


def test_infeasible_page_says_why_and_simulates_nothing(tmp_path: Path) -> None:
    text = write_report(subject_of("paper-34b-100k", {}), tmp_path).read_text()
    assert "It does not fit: one session needs 24.58 GB of KV cache" in text
    assert 'id="latency"' not in text
    assert 'id="quantities"' in text


def test_a_page_of_nothing_but_refusals(tmp_path: Path) -> None:
    text = write_report(subject_of("mooncake-replay", {"serving.max_model_len": 600}), tmp_path).read_text()
    assert "Nothing was served: every request was refused." in text
    assert "20 requests are longer than max_model_len (600 tokens)" in text
    assert 'id="latency"' not in text


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


@pytest.fixture(scope="module")
def policies() -> dict[str, Subject]:
    return {name: subject_of("yi-34b-50k-a100", {"run.horizon": "8 min"} | s) for name, s in SETTINGS.items()}


def sheet_of(subject: Subject, name: str) -> Sheet:
    (found,) = (sheet for sheet in compose(subject).sheets if sheet.name == name)
    return found


@pytest.mark.parametrize("policy", SETTINGS)
def test_residency_is_that_of_the_summary(policy: str, policies: dict[str, Subject]) -> None:
    subject = policies[policy]
    summary = subject.summary
    assert subject.simulation is not None
    reusable = int(np.sum(subject.simulation.requests["reusable_tokens"]))
    found = sheet_of(subject, "kv_found")
    assert [row[1] for row in found.rows[:3]] == list(summary["kv_hit_ratio"].values())
    assert sum(row[1] for row in found.rows) == pytest.approx(1)
    assert sum(row[2] for row in found.rows) == pytest.approx(reusable, abs=2)
    moved = dict(sheet_of(subject, "kv_moved").rows)
    assert moved["copied into HBM"] == summary["swap_in_bytes"]
    assert moved["copied out of HBM"] == summary["swap_out_bytes"]
    costs = dict(sheet_of(subject, "kv_costs").rows)
    assert costs["all gaps"] == summary["gap_cost_usd"]["total_usd"]
    assert costs["above the bound"] == summary["gap_cost_usd"]["regret_usd"]


def test_captions_own_up_to_what_is_not_known(policies: dict[str, Subject]) -> None:
    pale = "Pale: where that turn found it"
    inclusive, preempted = "it may have been in HBM as well", "were preempted, of which no times are recorded"
    expected = {"recompute": [pale], "inclusive": [pale, inclusive], "preempting": [preempted]}
    for policy, subject in policies.items():
        captions = " ".join(text for text in said_by(Path(), subject))
        assert [words for words in (pale, inclusive, preempted) if words in captions] == expected[policy], policy


def test_missed_limits_are_named(policies: dict[str, Subject]) -> None:
    answer = next(iter(said_by(Path(), policies["recompute"])))
    gate = policies["recompute"].gate
    assert not gate["met"]
    assert answer.startswith("No: ")
    assert human("s_s", gate["ttft_s"]["found_s"]) in answer


def test_nothing_to_keep_no_table_about_it(small: Subject) -> None:
    names = {sheet.name for sheet in compose(small).sheets}
    assert "kv_found" not in names
    assert "kv_over_time" in names


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
