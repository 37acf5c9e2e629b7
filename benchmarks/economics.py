"""The economics of long contexts: models on machines, where their cost comes from, grows, and breaks.

Usage: python benchmarks/economics.py [-o DIR] writes economics.md and economics.svg there (docs unless told).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from maps import compared, curves, four, full, idle, origin, road, stacks
from maps.cells import BASE, LONG, MACHINES, MODELS, Node, nodes_of
from maps.drawn import draw
from shown import plain

PAGE = Path(__file__).parent / "economics_page.md"
EXAMPLE, DRAWN, STACKED = ("llama-3.1-70b", "h100-80gb-sxm"), "h100-80gb-sxm", "b200-sxm"
"""The row whose commands are shown, the machine of the figure, and that of techniques: it holds 1M of every model."""


def listed(sentences: Iterable[str]) -> str:
    """Findings as a list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def command(node: Node, context: str) -> str:
    """The scenario of a row, as commands name it."""
    settings = [f"--set {key}={value}" for key, value in node.settings(context).items()]
    return f"{BASE} {' '.join(settings)}"


def closed_form(nodes: Sequence[Node]) -> dict[str, str]:
    """Findings and tables of all sections, by their names in the page."""
    return {
        "machines": compared.machines(nodes),
        "models": compared.models(nodes),
        "compared": listed([*compared.replica_findings(nodes), *compared.calibrated_findings(nodes)]),
        "replicas": compared.replicas(nodes),
        "calibrated": compared.calibrated(nodes),
        "origin": listed(origin.findings(nodes)),
        "causes": origin.causes(nodes),
        "limits": origin.limits(nodes),
        "items": origin.items(nodes),
        "kv_last": plain(origin.most_points_last(nodes)),
        "curves": listed(curves.findings(nodes)),
        "costs": curves.costs(nodes),
        "slopes": curves.slopes(nodes),
        "least_price_slope": plain(curves.least_price_slope(nodes)),
        "idle": listed(idle.findings(nodes)),
        "break_evens": idle.break_evens(nodes),
        "choices": idle.choices(nodes),
        "full": listed(full.findings(nodes)),
        "places": full.places(nodes),
        "four": listed(four.findings(nodes)),
        "quantities": four.quantities(nodes),
        "factors": four.factors(nodes),
    }


def with_techniques(nodes: Sequence[Node]) -> dict[str, str]:
    """Findings and tables of stacks of techniques: models on one machine."""
    return {
        "stacked": listed(stacks.findings(nodes)),
        "stacks": stacks.costs(nodes),
        "road": listed(road.findings(nodes)),
        "roads": road.roads(nodes),
    }


def simulated() -> dict[str, str]:
    """The running example's cliff."""
    found = full.of_example()
    return {"found_by_simulation": listed(full.found_by_simulation(found)), "simulated": full.simulated(found)}


def page(nodes: Sequence[Node], slow: Mapping[str, str]) -> str:
    """The whole page; slow: what takes minutes, by name."""
    example = next((node for node in nodes if (node.model, node.hardware) == EXAMPLE), nodes[0])
    text = PAGE.read_text(encoding="utf-8")
    shown = {"example": example.name, "command": command(example, LONG), "stacked_on": MACHINES[STACKED]}
    return text.format(**closed_form(nodes), **slow, **shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs"))
    out = parser.parse_args().out
    nodes = nodes_of(MODELS, list(MACHINES))
    draw([node for node in nodes if node.hardware == DRAWN], out / "economics.svg")
    slow = {**with_techniques([node for node in nodes if node.hardware == STACKED]), **simulated()}
    (out / "economics.md").write_text(page(nodes, slow), encoding="utf-8")


if __name__ == "__main__":
    main()
