"""Draws the README's figure: the four quantities of the running example over context length."""

from pathlib import Path

from ctxsim.reporting.figures import four_quantities_figure, svg
from ctxsim.reporting.figures.style import standalone
from ctxsim.spec.scenario import load_scenario

TARGET = Path(__file__).with_name("four-quantities.svg")
TOKENS = 50_000
SAID = "Concurrency, prefill, decode and context switch of the running example over context length; 50K tokens marked."

if __name__ == "__main__":
    figure = four_quantities_figure(load_scenario("yi-34b-50k-a100"), document_tokens=TOKENS)
    TARGET.write_text(standalone(svg(figure, "four-quantities", SAID)), encoding="utf-8")
