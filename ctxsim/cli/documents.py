"""The commands that make documents: the paper's tables, and a report page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.options import JsonOption, ScenarioArgument, SetOption, overrides_of


def paper(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/paper.md.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Reproduce the running example of arXiv 2405.08944.

    Formula value, printed value where the paper gives one, and deviation; then its factor analysis.
    """
    from ctxsim.paper import paper_markdown, paper_rows

    rows = paper_rows()
    result = {"rows": [asdict(row) | {"deviation_ratio": row.deviation_ratio} for row in rows]}

    def text() -> Any:
        from ctxsim.cli.views.paper import paper_view

        return [paper_markdown().rstrip()] if markdown else paper_view(rows)

    return Answer("paper", result, text, as_json)


def report(
    scenario: ScenarioArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Write index.html there.")],
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Write one self-contained page of a scenario.

    The four quantities, the arithmetic, and what a simulation found.
    """
    from ctxsim.reporting import write_report
    from ctxsim.spec.scenario import load_scenario

    loaded = load_scenario(scenario, overrides_of(settings))
    page = write_report(loaded, out)
    return Answer("report", {"page": str(page)}, lambda: [f"wrote {page}"], as_json, scenario_sha256=loaded.sha256)
