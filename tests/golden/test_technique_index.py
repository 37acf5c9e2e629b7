"""The index of techniques/README.md against the files it lists, and both against the arithmetic."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import ctxsim
from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.spec.catalog import find, names

README = find("technique", "yoco").parent / "README.md"
LETTERS = {"C": "concurrency", "P": "prefill", "D": "decode", "S": "switch"}
CONTEXT_TOKENS, GB = 50_000, 1e9


def index() -> dict[str, list[str]]:
    """Name of a technique to the cells behind it; a row may list several."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.read_text().splitlines()]
    table = [row for row in rows if len(row) == 6 and row[0] not in ("file", "---")]
    return {name: row[1:] for row in table for name in row[0].split(", ")}


@cache
def described(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(Path(find("technique", name)).read_text())


def test_every_file_is_in_the_index_once() -> None:
    listed = [
        name
        for line in README.read_text().splitlines()
        if line.startswith("| ")
        for name in line.split("|")[1].strip().split(", ")
    ]
    assert sorted(name for name in listed if name in names("technique")) == names("technique")


@pytest.mark.parametrize("name", names("technique"))
def test_a_line_says_what_the_file_says(name: str) -> None:
    dimension, _, better, effort, needle = index()[name]
    file = described(name)
    assert (dimension, effort, needle) == (file["dimension"], file["training"]["effort"], file["needle"]["state"])
    letters = [letter for letter in better.split() if letter in LETTERS]
    assert [LETTERS[letter] for letter in letters] == file["improves"]


@pytest.mark.parametrize("name", names("technique"))
def test_bytes_at_50k(name: str) -> None:
    settings = {"model": "yi-34b-200k", "techniques": [name], "serving.max_model_len": None}
    held = CostModel(ctxsim.load("paper-34b-50k", overrides=settings)).layout.held_bytes(CONTEXT_TOKENS)
    assert f"{held / GB:.3f}" == index()[name][1]


# Long enough that KV is a good part of what a decode step reads, and it fits; so much better counts as better.
LONG, BETTER = {"workload.document_tokens": 190_000}, 1.05


@cache
def quantities(*techniques: str) -> dict[str, float]:
    """The four quantities of a long context of Yi-34B on two A100, each as something of which more is better."""
    keys = analyze(ctxsim.load("yi-34b-50k-a100", overrides={"techniques": list(techniques)} | LONG)).keys
    seconds = {"prefill": "prefill_s", "decode": "decode_answer_s", "switch": "switch_s"}
    return {"concurrency": keys["concurrent_sessions"]} | {name: 1 / keys[key] for name, key in seconds.items()}


@pytest.mark.parametrize("name", names("technique"))
def test_it_improves_what_its_file_says(name: str) -> None:
    before, after = quantities(), quantities(name)
    assert [quantity for quantity in after if after[quantity] > BETTER * before[quantity]] == described(name)[
        "improves"
    ]
