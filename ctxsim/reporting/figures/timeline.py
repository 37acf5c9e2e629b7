"""Sessions over time: the phases of their turns, and where their KV lay between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib import rc_context
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ctxsim.metrics.phases import PHASES
from ctxsim.metrics.whereabouts import PLACES, Span
from ctxsim.records import Table
from ctxsim.reporting.figures.style import ACCENT, DISK, GONE, HBM, HOST, INK, PALE, SOFT, STYLE, WIDTH, time_unit

COLORS = dict(zip((*PHASES, *PLACES), (SOFT, ACCENT, INK, PALE, HBM, HOST, DISK, GONE), strict=True))
WORDS = {
    "queue": "queued",
    "swap in": "swapping in",
    "prefill": "prefill",
    "decode": "decode",
    "in HBM": "user thinks, KV in HBM",
    "in host memory": "KV swapped out to host memory",
    "on disk": "KV on disk",
    "dropped": "KV dropped, no record when",
}
DRAWN = (PHASES[0], *PLACES, *PHASES[1:])
"""In this order: turns of a replayed session may overlap, and what is done is drawn over what waits."""

UNCERTAIN_ALPHA = 0.45
TURN_HEIGHT, GAP_HEIGHT = 0.84, 0.4


def timeline_figure(turns: Table, spans: Sequence[Span]) -> Figure:
    """A row a session, the first to come on top. Pale: the KV need not have been there all the time, or only there."""
    begin_s, end_s = float(np.min(turns["arrival_s"])), float(np.max(turns["finished_s"]))
    unit_s, label = time_unit(end_s - begin_s)
    rows = {session: row for row, session in enumerate(dict.fromkeys(turns["session"].tolist()))}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 + 0.2 * len(rows)))
        axes = figure.subplots()
        for what, certain in product(DRAWN, (True, False)):
            bars = [_bar(s, rows[s.session], unit_s) for s in spans if s.what == what and s.certain == certain]
            alpha = 1.0 if certain else UNCERTAIN_ALPHA
            axes.add_collection(PolyCollection(bars, facecolors=COLORS[what], alpha=alpha, linewidths=0, label=what))
        axes.set_xlim(begin_s / unit_s, end_s / unit_s)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [str(session) for session in rows], fontsize=8)
        axes.set_ylabel("session")
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
        _keys(figure, spans)
    return figure


def _bar(span: Span, row: int, unit_s: float) -> np.ndarray:
    """The corners of a span's bar, which is thinner where nothing of the session is being served or waits to be."""
    half = (TURN_HEIGHT if span.what in PHASES else GAP_HEIGHT) / 2
    left, right = span.start_s / unit_s, span.end_s / unit_s
    return np.array([(left, row - half), (right, row - half), (right, row + half), (left, row + half)])


def _keys(figure: Figure, spans: Sequence[Span]) -> None:
    """The legend of what there is, above the rows."""
    found = {span.what for span in spans}
    keys = [Patch(color=COLORS[what], label=WORDS[what]) for what in COLORS if what in found]
    figure.legend(handles=keys, loc="outside upper left", ncols=4, frameon=False)
