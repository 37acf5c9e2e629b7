"""How far back a token attends, and what a run of new tokens therefore computes and touches.

A token at position x attends to ``attended(x)`` earlier tokens. ``new`` tokens after ``past`` ones make

    pairs(new, past) = integral of attended(x) over x = past .. past + new

query-key pairs: the causal half, counted as published FLOP formulas do (s tokens from nothing: s^2 / 2), so that
chunks of a prompt add up to the prompt. They touch (read or write) ``touched(new, past)`` tokens of KV cache.
Decode is new = 1. All values are halves or integers, so sums of them are exact in floats.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

UNBOUNDED = sys.maxsize

SpanKind = Literal["full", "sliding", "chunked", "topk", "fixed"]
Phase = Literal["any", "decode", "prefill"]


class Extent(NamedTuple):
    """Pairs and touched tokens of one sequence now, their growth per repetition, and how long that holds.

    Iteration k = 0 .. until - 1 of a repeated (new, past) -> (new, past + new) has ``pairs + k * pairs_growth``
    pairs and touches ``touched + k * touched_growth`` tokens.
    """

    pairs: float
    pairs_growth: float
    touched: float
    touched_growth: float
    until: int


NOTHING = Extent(0.0, 0.0, 0.0, 0.0, UNBOUNDED)


@dataclass(frozen=True, slots=True)
class Span:
    """Which tokens a query attends to.

    ``full``: all earlier ones. ``sliding``: the last ``tokens``. ``chunked``: those in its own chunk of ``tokens``.
    ``topk``: ``tokens`` selected ones of a cache that is kept whole. ``fixed``: those in its own region of ``tokens``,
    and one abstraction of every region before it, of a cache that is kept whole (Combiner-Fixed, arXiv 2107.05768,
    section 4.1): at region tokens of sqrt(s), s sqrt(s) pairs. ``phase``: a kernel that runs in only one phase
    (decode: new = 1, prefill: new > 1) sees nothing of the other.
    """

    kind: SpanKind
    tokens: int = 0
    phase: Phase = "any"

    @property
    def keeps_all(self) -> bool:
        """Whether the KV of every token is kept, however little of it is read."""
        return self.kind in ("full", "topk", "fixed")

    def held_tokens(self, context: Any, minimum: Callable[..., Any] = min) -> Any:
        """Tokens of KV kept for a context of ``context`` tokens (numbers, or arrays with numpy.minimum)."""
        return context if self.keeps_all else minimum(context, self.tokens)

    def pairs(self, new: Any, past: Any, minimum: Callable[..., Any] = min) -> Any:
        """Query-key pairs of ``new`` tokens after ``past`` ones."""
        return self._pairs_from_start(past + new, minimum) - self._pairs_from_start(past, minimum)

    def _pairs_from_start(self, context: Any, minimum: Callable[..., Any]) -> Any:
        if self.kind == "full":
            return context * context / 2
        if self.kind in ("chunked", "fixed"):
            rest = context % self.tokens
            own = (context - rest) * self.tokens / 2 + rest * rest / 2
            return own if self.kind == "chunked" else own + self._abstraction_pairs(context // self.tokens, rest)
        short = minimum(context, self.tokens)
        return short * short / 2 + (context - short) * self.tokens

    def _abstraction_pairs(self, regions: Any, rest: Any) -> Any:
        """Pairs with abstractions of whole regions: each token of region i has i of them."""
        return self.tokens * regions * (regions - 1) / 2 + regions * rest

    def touched(self, new: Any, past: Any, minimum: Callable[..., Any] = min) -> Any:
        """Tokens of KV cache read or written for ``new`` tokens after ``past`` ones, each once.

        An abstraction is as large as a token.
        """
        if self.kind == "full":
            return past + new
        if self.kind == "chunked":
            return past % self.tokens + new
        if self.kind == "fixed":
            return past % self.tokens + new + (past + new - 1) // self.tokens
        reach = self.tokens if self.kind == "sliding" else self.tokens * new
        return minimum(past, reach - 1) + new

    def extent(self, new: int, past: int) -> Extent:
        """Pairs and touched tokens of a sequence that repeats ``new`` tokens after ``past`` ones."""
        if self.phase != "any" and (self.phase == "decode") != (new == 1):
            return NOTHING
        if self.kind == "full":
            return Extent(new * past + new * new / 2, new * new, past + new, new, UNBOUNDED)
        if self.kind == "fixed" and new % self.tokens == 0:
            regions = new // self.tokens
            return Extent(self.pairs(new, past), new * regions, self.touched(new, past), regions, UNBOUNDED)
        grows, until = self._affine_run(new, past)
        return Extent(
            self.pairs(new, past),
            new * new if grows else 0.0,
            self.touched(new, past),
            self._touched_growth(new, past, grows),
            until,
        )

    def _affine_run(self, new: int, past: int) -> tuple[bool, int]:
        """Whether pairs grow from one repetition to the next, and for how many repetitions they do so evenly."""
        if self.kind in ("chunked", "fixed"):
            return True, max(1, (self.tokens - past % self.tokens) // new)
        if past >= self.tokens:
            return False, self._until_selection_is_full(new, past)
        return True, max(1, (self.tokens - past) // new)

    def _until_selection_is_full(self, new: int, past: int) -> int:
        """Repetitions for which chunks of a top-k prefill still touch ever more of the past."""
        if self.kind == "sliding" or past >= self.tokens * new - 1:
            return UNBOUNDED
        return max(1, (self.tokens * new - 1 - past) // new)

    def _touched_growth(self, new: int, past: int, grows: bool) -> float:
        still_reaching = self.kind == "topk" and past < self.tokens * new - 1
        return new if grows or still_reaching else 0.0
