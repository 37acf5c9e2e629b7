"""Figures as panels of a picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from ctxsim.reporting.blocks import Panel
from ctxsim.reporting.figures.style import svg


def panel(name: str, figure: Figure, said: str) -> Panel:
    """The figure under that name, with what it says to whoever cannot see it."""
    return Panel(name, svg(figure, name, said), said)
