"""The road to a short context's cost, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, labelled, paragraph
from ctxsim.explore.frontier import (
    DEFINITIONS,
    EFFORTS,
    NAMES,
    QUANTITIES,
    RISKS,
    Frontier,
    Level,
    Reach,
    Tried,
    finding,
    kv_alone,
    needs,
    together,
)
from ctxsim.explore.frontier.findings import times
from ctxsim.human import human


def frontier_keys(found: Frontier) -> dict[str, Any]:
    """The frontier as JSON."""
    return {
        "feasible": found.infeasible_reason is None,
        "infeasible_reason": found.infeasible_reason,
        "context_tokens": found.session.document_tokens,
        "target_tokens": found.target_tokens,
        "within_ratio": found.within_ratio,
        "finding": finding(found),
        "together": {"finding": together(found), **found.row(found.together)},
        "quantities": {NAMES[reach.quantity]: _reach_keys(found, reach) for reach in found.reaches},
        "without_techniques": found.row(found.own),
        "at_target": found.row(found.target),
        "without_kv": {
            "finding": kv_alone(found), **found.limit.without_kv, "prefill_flop": found.limit.prefill_flop,
            "target_prefill_flop": found.target_limit.prefill_flop,
        },
        "needed": list(needs(found)),
        "levels": found.level_rows,
        "search": {**found.found.counts, "left_out": found.found.left_out},
        "definitions": DEFINITIONS,
    }  # fmt: skip


def _reach_keys(found: Frontier, reach: Reach) -> dict[str, Any]:
    return {
        "target": reach.target, "without_techniques": reach.own,
        "missing_ratio_without_techniques": reach.own_missing,
        "best": reach.best.measured.values[reach.quantity], "missing_ratio": reach.missing,
        "best_stack": found.row(reach.best), "reached": reach.reached_by is not None,
        "reached_by": None if reach.reached_by is None else found.row(reach.reached_by),
    }  # fmt: skip


def frontier_view(found: Frontier) -> Iterator[RenderableType]:
    """The answer, a table of the quantities, what would be needed, dollars against risk, and what was tried."""
    yield from (paragraph(_sentence(words)) for words in (finding(found), together(found), kv_alone(found)))
    yield heading("The four quantities")
    heads = ("quantity", f"at {found.target_tokens:,}", f"at {found.session.document_tokens:,}", "best", "by", "short")
    yield grid((*heads, "cheapest at parity"), map(_quantity, found.reaches), _WORDS, wrapped=_WORDS[1:])
    wanted = list(needs(found))
    if wanted:
        yield heading("What would be needed")
        yield from (paragraph(_sentence(words)) for words in wanted)
    yield heading("Dollars of a session by risk and training allowed: the cheapest stack, and that nearest to parity")
    left = ("retrieval", "training", "techniques", "nearest")
    yield grid(
        ("retrieval", "training", "USD", "at parity", "techniques", "at parity ", "USD ", "nearest"),
        (_level(found, level) for level in found.levels), left, wrapped=left[2:],
    )  # fmt: skip
    yield heading("What was tried")
    yield labelled(_tried(found))


def _stack(one: Tried) -> str:
    """A stack that may break between techniques."""
    return " + ".join(part.written for part in one.parts) or "none"


_WORDS = ("quantity", "by", "cheapest at parity")


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _quantity(reach: Reach) -> tuple[str, ...]:
    values = (reach.target, reach.own, reach.best.measured.values[reach.quantity])
    cheapest = "none" if reach.reached_by is None else _stack(reach.reached_by)
    amounts = (human(reach.quantity, value) for value in values)
    return NAMES[reach.quantity], *amounts, _stack(reach.best), _short(reach), cheapest


def _short(reach: Reach) -> str:
    return "-" if reach.reached_by is not None else f"{times(reach.missing)} x"


def _level(found: Frontier, level: Level) -> tuple[str, ...]:
    cheapest, nearest = level.cheapest, level.nearest
    return (
        RISKS[level.risk], EFFORTS[level.effort], _usd(cheapest), _there(found, cheapest), _stack(cheapest),
        _there(found, nearest), _usd(nearest), "the same" if nearest is cheapest else _stack(nearest),
    )  # fmt: skip


def _usd(one: Tried) -> str:
    return f"{one.usd:.4g}"


def _there(found: Frontier, one: Tried) -> str:
    return f"{len(found.at_parity(one))} of {len(QUANTITIES)}"


def _tried(found: Frontier) -> dict[str, str]:
    tried, out = found.found, found.found.left_out
    refused = f"; {tried.refused:,} more were refused, as their techniques contradict each other"
    gain = f"; of {tried.without_gain:,} a part gained nothing" if tried.without_gain else ""
    words = {
        "stacks": f"{tried.evaluated:,} were worked out, of {tried.combined:,} techniques{refused}{gain}",
        "larger": "; ".join(f"{name} {why}" for name, why in out["larger"].items()),
        "no gain alone": ", ".join(out["idle"]),
        "beaten alone": ", ".join(out["dominated"]),
        "refused alone": "; ".join(f"{name}: {why}" for name, why in out["refused"].items()),
        "training": f"{' < '.join(EFFORTS)}; a stack's is its greatest",
        "retrieval": f"{' < '.join(RISKS)}; a stack's is its greatest, and at least untested where two techniques "
        "that lose something were not tested together",
    }
    return {name: said for name, said in words.items() if said}
