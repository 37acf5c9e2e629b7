"""docs/economics.md: as its generator gives it, the same bytes every time, its findings' numbers in its tables."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ctxsim.cli.app import run

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import economics  # noqa: E402
from maps import origin  # noqa: E402
from maps.cells import LONG, MACHINES, MODELS, node_of, nodes_of  # noqa: E402

PAGE = (REPOSITORY / "docs" / "economics.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.M)[1:]
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")

SUBSET = """
import sys
sys.path.insert(0, "benchmarks")
import economics
from maps.cells import nodes_of
nodes = nodes_of(["deepseek-v3", "qwen3-32b"], ["a100-80gb-sxm", "b200-sxm"])
slow = dict.fromkeys(("found_by_simulation", "simulated", "stacked", "stacks", "road", "roads"), "")
sys.stdout.write(economics.page(nodes, slow))
"""


def tables(section: str) -> str:
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def test_the_page_is_what_its_generator_gives():
    nodes = nodes_of(MODELS, list(MACHINES))
    for name, text in economics.closed_form(nodes).items():
        assert text in PAGE, f"{name} is out of date: run make docs"


def test_its_stacks_are_what_its_generator_gives():
    (node,) = nodes_of(["deepseek-v3"], [economics.STACKED])
    shown = economics.with_techniques([node])
    (stacks, roads) = ([line.split(" | ") for line in shown[name].splitlines()] for name in ("stacks", "roads"))
    for stack, *_, cost in stacks[2:]:
        assert re.search(rf"^{re.escape(stack)} \| .*\| {re.escape(cost.rstrip(' |'))} \|", PAGE, re.M), stack
    for row in roads[2:]:
        assert " | ".join(row) in PAGE


def test_a_part_of_it_is_the_same_bytes_whatever_the_order_of_sets():
    pages = [
        subprocess.run(
            [sys.executable, "-c", SUBSET], cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert pages[0] == pages[1]
    assert b"deepseek-v3" in pages[0]


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_every_number_of_a_finding_stands_in_a_table_of_its_section(section):
    shown = set(NUMBER.findall(tables(section)))
    found = re.findall(r"\*\*(.*?)\*\*", "\n".join(line for line in section.splitlines() if line.startswith("- ")))
    assert found
    assert {number for number in found if number not in shown} == set()


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_a_section_opens_with_findings(section):
    first = section.splitlines()[2]
    assert first.startswith("- ")


def test_a_shown_command_gives_a_cell_of_its_table(capfd):
    scenario = re.search(r'^    S="(.*)"$', PAGE, re.M)
    assert scenario is not None
    assert "`ctxsim explain $S --against 4k`" in PAGE
    assert run(shlex.split(f"explain {scenario[1]} --against 4k --json")) == 0
    rows = json.loads(capfd.readouterr().out)["result"]["rows"]
    usd = {cause: sum(row["extra_usd"] for row in rows if row["cause"] == cause) for cause in origin.CAUSES}
    total = sum(usd.values())
    cell = " / ".join(f"{100 * usd[cause] / total:.0f}" for cause in origin.CAUSES)
    assert re.search(rf"^\| llama-3.1-70b \| 1M\* \| [^|]* \| {cell} \|", PAGE, re.M)


def test_weights_are_as_wide_as_fits_and_nodes_as_few():
    nodes = {machine: node_of("deepseek-v3", machine) for machine in MACHINES}
    assert {node.weights for node in nodes.values()} == {"fp8"}
    assert [[nodes[machine].nodes(context) for context in ("4k", "128k", LONG)] for machine in MACHINES] == [
        [2, 2, 8], [2, 2, 8], [1, 1, 2], [1, 1, 1],
    ]  # fmt: skip
    assert nodes["h100-80gb-sxm"].cut(1_000_000) == (16, 4)
    wide = node_of("yi-34b-200k", "a100-80gb-sxm")
    assert (wide.weights, wide.nodes(LONG)) == ("bf16", 1)


def test_every_model_is_priced_in_every_cell():
    priced = [line for line in PAGE.splitlines() if line.startswith("| deepseek-v3 | 1M")]
    assert len(priced) >= 6
    assert not [line for line in priced if " - " in line]
