"""Figures as SVG text that is the same bytes for the same data; each figure in its own file."""

from ctxsim.reporting.figures.latency import latency_figures
from ctxsim.reporting.figures.memory import memory_figure
from ctxsim.reporting.figures.quantities import four_quantities_figure
from ctxsim.reporting.figures.style import svg
from ctxsim.reporting.figures.timeline import timeline_figure

__all__ = ["four_quantities_figure", "latency_figures", "memory_figure", "svg", "timeline_figure"]
