"""What it takes to compute tokens of one sequence alone, a fixed number an iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxsim.cost.law import Law, course_s
from ctxsim.geometry import BatchTotals, Span


def repetitions(spans: Sequence[Span], tokens: int, past: int, per_iteration: int) -> Iterator[tuple[BatchTotals, int]]:
    """The iterations of one sequence that computes ``tokens`` after ``past``, those that grow evenly together."""
    end = past + tokens
    while past < end:
        new = min(per_iteration, end - past)
        extents = [span.extent(new, past) for span in spans]
        repeats = min([(end - past) // new, *(e.until for e in extents)])
        yield (
            BatchTotals(
                sequences=1,
                new_tokens=new,
                decode_tokens=1 if new == 1 else 0,
                pairs=[e.pairs for e in extents],
                pairs_growth=[e.pairs_growth for e in extents],
                touched=[e.touched for e in extents],
                touched_growth=[e.touched_growth for e in extents],
            ),
            repeats,
        )
        past += repeats * new


def alone_s(law: Law, spans: Sequence[Span], tokens: int, past: int, per_iteration: int) -> float:
    """Seconds of those iterations."""
    return sum(course_s(law(batch), repeats) for batch, repeats in repetitions(spans, tokens, past, per_iteration))
