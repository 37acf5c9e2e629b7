"""The report as a browser shows it: a scenario's, and a plan's."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctxsim.cli.app import run

Look = Callable[..., Any]
Pages = dict[str, Path]

SHORT = ["--set", "run.horizon=10 min"]
KINDS = ("scenario", "plan")
SCROLLBAR = 20
"""Pixels of a window that the upright scrollbar may take."""


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Reports of a scenario and of a plan, made by the commands that users type."""
    folder = tmp_path_factory.mktemp("reports")
    made = {
        "scenario": ["report", "yi-34b-50k-a100", *SHORT, "-o", str(folder / "scenario")],
        "plan": [
            "plan", "yi-34b-50k-a100", *SHORT, "--users", "4", "--accelerators", "a100-80gb-sxm,h100-80gb-sxm",
            "--tensor-parallel", "2", "--no-progress", "--report", str(folder / "plan"),
        ],
    }  # fmt: skip
    for words in made.values():
        with contextlib.redirect_stdout(io.StringIO()):
            assert run([*words, "--workers", "1"]) == 0
    return {name: folder / name / "index.html" for name in made}


@pytest.mark.parametrize("kind", KINDS)
def test_renders_without_a_word_on_the_console(look: Look, pages: Pages, kind: str) -> None:
    seen = look(pages[kind])
    assert seen.console == []
    assert seen.found["heading"].endswith("?")
    assert all(height > 40 for _, height in seen.found["sections"])
    assert seen.found["fetched"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_contents_lead_to_every_section(look: Look, pages: Pages, kind: str) -> None:
    found = look(pages[kind]).found
    assert [link for link, there in found["links"] if there] == [f"#{name}" for name, _ in found["sections"]]
    assert len(set(found["ids"])) == len(found["ids"])


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_all_figures_are_visible(look: Look, pages: Pages, kind: str, width: int) -> None:
    figures = look(pages[kind], width).found["figures"]
    assert len(figures) >= 16
    for figure in figures:
        assert figure["width"] > 200
        assert figure["height"] > 60
        assert figure["texts"] >= 4
        assert figure["drawn"] >= 4


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_scrolls_sideways(look: Look, pages: Pages, kind: str, width: int) -> None:
    found = look(pages[kind], width).found
    assert width - SCROLLBAR <= found["width"] <= width
    assert found["content"] <= found["width"]
    assert found["wide"] == []


def in_order(keys: list[str], words: bool) -> bool:
    """Whether the keys rise, those that are missing last."""
    known = [key for key in keys if key]
    missing_last = keys == known + [""] * (len(keys) - len(known))
    if words:
        return missing_last
    numbers = [float(key) for key in known]
    return missing_last and numbers == sorted(numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_sort(look: Look, pages: Pages, kind: str) -> None:
    """By raw values, either way; a row of totals stays last."""
    tables = look(pages[kind]).found["tables"]
    columns = [column for table in tables if table["rows"] > 2 for column in table["columns"]]
    assert len(columns) > 20
    for column in columns:
        assert column["arrow"] == "ascending"
        rising, falling = column["rising"], column["falling"]
        if column["total"]:
            assert rising[-1] == falling[-1]
            rising, falling = rising[:-1], falling[:-1]
        assert in_order(rising, column["words"])
        assert sorted(falling) == sorted(rising)
        if not column["words"]:
            assert in_order([key for key in falling if key][::-1], words=False)
    assert any(column["total"] for column in columns)
    assert any(column["rising"] != column["falling"] for column in columns)


def test_figures_take_the_readers_colours(look: Look, pages: Pages) -> None:
    light, dark = (look(pages["plan"], dark=dark).found for dark in (False, True))
    assert light["paper"] == "rgb(255, 255, 255)"
    assert dark["paper"] == "rgb(18, 24, 31)"
    assert light["figures"][0]["ink"] != dark["figures"][0]["ink"]
