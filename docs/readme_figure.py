"""Draws the README's figure: the four quantities of the running example over context length."""

from pathlib import Path

from ctxsim.reporting.figures import four_quantities_figure, svg
from ctxsim.spec.scenario import load_scenario

TARGET = Path(__file__).with_name("four-quantities.svg")

if __name__ == "__main__":
    figure = four_quantities_figure(load_scenario("yi-34b-50k-a100"), document_tokens=50_000)
    figure.set_facecolor("white")
    TARGET.write_text(svg(figure, transparent=False), encoding="utf-8")
