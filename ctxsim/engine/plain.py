"""The decode batch without any cleverness: every number is worked out afresh from the list of sequences."""

from __future__ import annotations

from collections.abc import Sequence

from ctxsim.engine.decoding import Chunk
from ctxsim.engine.request import Request
from ctxsim.geometry import BatchTotals, KvLayout, Span, lone_sequence


class PlainBatch:
    """A DecodeBatch that looks at each sequence in every iteration: what IncrementalBatch is checked against."""

    def __init__(self, spans: Sequence[Span], layout: KvLayout) -> None:
        self._spans = tuple(spans)
        self._layout = layout
        self._tokens: dict[Request, int] = {}

    def __len__(self) -> int:
        """Sequences in the batch."""
        return len(self._tokens)

    def add(self, request: Request, tokens: int) -> None:
        """See DecodeBatch."""
        self._tokens[request] = tokens

    def remove(self, request: Request) -> int:
        """See DecodeBatch."""
        return self._tokens.pop(request)

    def demand_bytes(self, iterations: int) -> float:
        """See DecodeBatch."""
        footprint = self._layout.footprint_bytes
        return sum(footprint(t + iterations) - footprint(t) for t in self._tokens.values())

    def fitting_iterations(self, free_bytes: float, limit: int) -> int:
        """See DecodeBatch; the scheduler has made sure of one."""
        return 1

    def iterations_to_event(self) -> int:
        """See DecodeBatch."""
        return 1

    def totals(self, chunks: Sequence[Chunk], decoding: bool = True) -> tuple[BatchTotals, int]:
        """See DecodeBatch."""
        stored = self._tokens.values() if decoding else ()
        parts = [lone_sequence(self._spans, 1, tokens) for tokens in stored]
        parts += [lone_sequence(self._spans, tokens, request.computed_tokens) for request, tokens in chunks]
        flat = [0.0] * len(self._spans)
        columns = range(len(self._spans))
        totals = BatchTotals(
            sequences=len(parts),
            new_tokens=sum(p.new_tokens for p in parts),
            decode_tokens=sum(p.decode_tokens for p in parts),
            pairs=[sum(p.pairs[i] for p in parts) for i in columns],
            pairs_growth=flat,
            touched=[sum(p.touched[i] for p in parts) for i in columns],
            touched_growth=flat,
        )
        return totals, 1

    def touched(self) -> list[float]:
        """See DecodeBatch."""
        extents = [[span.extent(1, tokens) for tokens in self._tokens.values()] for span in self._spans]
        touched = [sum(e.touched for e in of_span) for of_span in extents]
        return [*touched, *(sum(e.touched_growth for e in of_span) for of_span in extents)]

    def advance(self, iterations: int) -> list[Request]:
        """See DecodeBatch."""
        finished = []
        for request in self._tokens:
            self._tokens[request] += iterations
            request.generated_tokens += iterations
            if request.generated_tokens == request.output_tokens:
                finished.append(request)
        for request in finished:
            del self._tokens[request]
        return finished
