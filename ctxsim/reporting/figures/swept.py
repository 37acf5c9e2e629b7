"""One number of a sweep over the one or two keys that vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from ctxsim.reporting.figures.style import INK, STYLE, WIDTH, head

Row = Mapping[str, Any]


def line_figure(rows: Sequence[Row], key: str, number: str) -> Figure:
    """The number over the key; between numbers a line, over words bars. Points without the number are gaps."""
    values = [row[key] for row in rows]
    found = [_number(row, number) for row in rows]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.subplots()
        if all(isinstance(value, int | float) for value in values):
            axes.plot(values, found, "o-", color=INK)
        else:
            axes.bar([str(value) for value in values], found, color=INK, width=0.6)
        axes.set_xlabel(key)
        head(axes, number)
    return figure


def heat_figure(rows: Sequence[Row], keys: tuple[str, str], number: str) -> Figure:
    """The number by colour over two keys, the first downwards; points without the number are blank."""
    down, across = (list(dict.fromkeys(row[key] for row in rows)) for key in keys)
    cells = [[float("nan")] * len(across) for _ in down]
    for row in rows:
        cells[down.index(row[keys[0]])][across.index(row[keys[1]])] = _number(row, number)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.6 + 0.4 * len(down)))
        axes = figure.subplots()
        image = axes.imshow(cells, aspect="auto", cmap="viridis")
        axes.grid(False)
        axes.set_yticks(range(len(down)), [str(value) for value in down])
        axes.set_xticks(range(len(across)), [str(value) for value in across])
        axes.set_ylabel(keys[0])
        axes.set_xlabel(keys[1])
        head(axes, number)
        figure.colorbar(image, ax=axes)
    return figure


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)
