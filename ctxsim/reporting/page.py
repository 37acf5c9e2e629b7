"""A report as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ctxsim.reporting.blocks import Report
from ctxsim.reporting.figures.style import page_colors


def html(report: Report) -> str:
    """The page as text. Whatever comes from a scenario is escaped; in SVG drawings, by matplotlib."""
    environment = Environment(
        loader=PackageLoader("ctxsim.reporting"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("report.html")
    return page.render(report=report, light=page_colors(dark=False), dark=page_colors(dark=True))
