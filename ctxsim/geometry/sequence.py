"""Batch totals of one sequence on its own: what the closed form asks about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ctxsim.geometry.batch import BatchTotals
from ctxsim.geometry.spans import Span


def lone_sequence(
    spans: Sequence[Span], new: Any, past: Any, minimum: Callable[..., Any] = min, sequences: Any = 1
) -> BatchTotals:
    """Totals of ``sequences`` equal sequences with ``new`` tokens after ``past`` ones each.

    Numbers, or arrays with ``minimum=numpy.minimum``; an array of ``new`` is prefill throughout. Growths are 0: this
    is one iteration. For a repeated one use Span.extent.
    """
    decode = isinstance(new, int) and new == 1
    seen = [span.phase == "any" or (span.phase == "decode") == decode for span in spans]
    zeros = [0.0] * len(spans)
    return BatchTotals(
        sequences=sequences,
        new_tokens=sequences * new,
        decode_tokens=sequences if decode else 0,
        pairs=[sequences * s.pairs(new, past, minimum) if on else 0.0 for s, on in zip(spans, seen, strict=True)],
        pairs_growth=zeros,
        touched=[sequences * s.touched(new, past, minimum) if on else 0.0 for s, on in zip(spans, seen, strict=True)],
        touched_growth=zeros,
    )
