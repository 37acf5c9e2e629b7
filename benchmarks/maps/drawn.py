"""The page's figure: over tokens of context, what KV bytes are of the extra cost, and dollars a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import SessionCost, session_at, session_cost
from ctxsim.explore.cost_curve import parse_contexts
from ctxsim.reporting.figures.style import ACCENT, DISK, HBM, HOST, INK, STYLE, WIDTH, head, plain_log, standalone, svg
from maps.cells import Node

COLORS = (INK, ACCENT, HBM, HOST, DISK)
CONTEXTS = "log:4k:1m:25"


def figure_of(nodes: Sequence[Node]) -> Figure:
    """A line a model."""
    contexts = parse_contexts(CONTEXTS)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6))
        shares, dollars = figure.subplots(1, 2)
        for node, color in zip(nodes, COLORS, strict=False):
            kv = [_kv_percent(node, context) for context in contexts[1:]]
            shares.plot(contexts[1:], kv, color=color, label=node.model)
            dollars.plot(contexts, [_cost(node, context, context).total.usd for context in contexts], color=color)
        for axes, title in ((shares, "KV bytes, % of the extra cost over 4K"), (dollars, "USD a session")):
            head(axes, title)
            axes.set_xlabel("tokens of context")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tokens_words(value)))
        shares.set_ylim(0, 100)
        dollars.set_yscale("log")
        plain_log(dollars.yaxis)
        figure.legend(loc="outside lower center", ncols=len(nodes), frameon=False)
    return figure


def tokens_words(value: float) -> str:
    """10K, 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}K"


def _cost(node: Node, context: int, on: int) -> SessionCost:
    """Of a session on the replica that holds one of ``on`` tokens."""
    scenario = node.replica(on)
    return session_cost(scenario, session_at(typical_session(scenario), context))


def _kv_percent(node: Node, context: int) -> float:
    """Of what it costs more than the shortest one on the same replica."""
    short, long = (_cost(node, tokens, context) for tokens in (parse_contexts(CONTEXTS)[0], context))
    kv_usd = long.by_cause("kv_bytes").usd - short.by_cause("kv_bytes").usd
    return 100 * kv_usd / (long.total.usd - short.total.usd)


def draw(nodes: Sequence[Node], path: Path) -> None:
    """Writes it as SVG."""
    words = "Two panels over tokens of context: percent of the extra cost that KV bytes cause, and dollars a session."
    path.write_text(standalone(svg(figure_of(nodes), "economics", words)), encoding="utf-8")
