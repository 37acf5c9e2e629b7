"""The commands that make documents: the paper's tables, and a report page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.exploring import Method, WorkersOption
from ctxsim.cli.options import JsonOption, SetOption


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
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="A scenario (name or file), a folder that simulate --out wrote, or the JSON of a plan.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Write the report there.")],
    settings: SetOption = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf too (needs the extra pdf).")] = False,
    other_loads: Annotated[
        bool, typer.Option("--load-curve/--no-load-curve", help="Simulate other loads as well.")
    ] = True,
    sensitivity: Annotated[
        Method, typer.Option(help="Effects of single numbers: in closed form, or by two simulations each.")
    ] = Method.analyze,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Write a report that a decision can rest on: one HTML page, Markdown beside it, and its data.

    The answer first; then cost, the four quantities with their arithmetic, latency, memory, bottlenecks, and how far
    the numbers can be trusted. The same bytes for the same subject.
    """
    from ctxsim.cli.reporting import report_of

    written = report_of(
        subject, settings, out, as_pdf=pdf, other_loads=other_loads, effects_by=sensitivity.value, workers=workers
    )
    return Answer(
        "report", {"page": str(written.page), "files": written.files}, lambda: [f"wrote {written.page}"], as_json,
        scenario_sha256=written.scenario_sha256, warnings=written.warnings,
    )  # fmt: skip
