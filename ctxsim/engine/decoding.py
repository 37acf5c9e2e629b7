"""The sequences that decode together, with running totals: a jump of k iterations costs O(log B), not O(k B)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from ctxsim.engine.request import Request
from ctxsim.geometry import UNBOUNDED, BatchTotals, KvLayout, Span

Chunk = tuple[Request, int]
_tickets = count(1)
"""Unlike in all batches: a request that was preempted may go on in another one."""

_Entry = tuple[int, int, int, Request, tuple[float, ...]]


class DecodeBatch(Protocol):
    """Sequences with one new token an iteration, and the totals of the batch they are in."""

    def __len__(self) -> int:
        """Sequences in the batch."""
        ...

    def add(self, request: Request, tokens: int) -> None:
        """The request decodes from the next iteration on, with ``tokens`` of KV stored."""
        ...

    def remove(self, request: Request) -> int:
        """The request leaves (preempted); returns the tokens of KV it had stored."""
        ...

    def demand_bytes(self, iterations: int) -> float:
        """Bytes of new blocks that the batch takes over the next iterations."""
        ...

    def fitting_iterations(self, free_bytes: float, limit: int) -> int:
        """Most iterations, up to ``limit``, whose new blocks fit into ``free_bytes``."""
        ...

    def iterations_to_event(self) -> int:
        """Iterations until a sequence finishes or its totals stop growing evenly."""
        ...

    def totals(self, chunks: Sequence[Chunk], decoding: bool = True) -> tuple[BatchTotals, int]:
        """Totals of the batch with these prefill chunks, and for how many repetitions they grow evenly.

        decoding: whether the sequences of the batch take part, or the chunks run alone.
        """
        ...

    def touched(self) -> list[float]:
        """KV tokens that each kernel touches for the batch alone, then by how many these grow an iteration."""
        ...

    def advance(self, iterations: int) -> list[Request]:
        """Every sequence has made that many tokens more; returns those that finished, oldest first."""
        ...


class IncrementalBatch:
    """A DecodeBatch that keeps sums, heaps and a histogram instead of looking at every sequence.

    Heaps hold (step, ticket, span, request, amounts) and are cleaned lazily: an entry counts only while its ticket is
    the request's.
    ``_blocks[(tokens - step) mod block_size]`` is what the sequences of that phase take when they cross into a block.
    """

    def __init__(self, spans: Sequence[Span], layout: KvLayout) -> None:
        self._spans = tuple(spans)
        self._layout = layout
        self._size = layout.block_size
        self._step = 0
        self._count = 0
        zeros = [0.0] * len(self._spans)
        self._pairs, self._pairs_growth = zeros[:], zeros[:]
        self._touched, self._touched_growth = zeros[:], zeros[:]
        self._blocks = [0.0] * self._size
        self._cycle_bytes = 0.0
        self._finishing: list[_Entry] = []
        self._bends: list[_Entry] = []
        self._saturations: list[_Entry] = []

    def __len__(self) -> int:
        """Sequences in the batch."""
        return self._count

    def add(self, request: Request, tokens: int) -> None:
        """See DecodeBatch."""
        self._count += 1
        request.ticket = next(_tickets)
        request.joined_tokens = tokens
        request.joined_step = self._step
        left = request.output_tokens - request.generated_tokens
        heappush(self._finishing, (self._step + left, request.ticket, 0, request, ()))
        for i in range(len(self._spans)):
            self._follow_span(i, request, tokens)
        self._follow_blocks(request, tokens)

    def remove(self, request: Request) -> int:
        """See DecodeBatch."""
        tokens = self._tokens(request)
        request.generated_tokens += self._step - request.joined_step
        request.ticket = 0
        self._count -= 1
        for i, span in enumerate(self._spans):
            e = span.extent(1, tokens)
            self._shift(i, -e.pairs, -e.pairs_growth, -e.touched, -e.touched_growth)
        self._count_blocks(tokens, -self._layout.next_block_bytes(tokens))
        return tokens

    def demand_bytes(self, iterations: int) -> float:
        """See DecodeBatch."""
        phase = -self._step % self._size
        if iterations == 1:
            return self._blocks[phase]
        cycles, rest = divmod(iterations, self._size)
        below = phase + 1 - rest
        blocks = self._blocks[below : phase + 1] if below >= 0 else self._blocks[: phase + 1] + self._blocks[below:]
        return cycles * self._cycle_bytes + sum(blocks)

    def fitting_iterations(self, free_bytes: float, limit: int) -> int:
        """See DecodeBatch."""
        if (limit // self._size + 1) * self._cycle_bytes <= free_bytes or self.demand_bytes(limit) <= free_bytes:
            return limit
        cycles = int(free_bytes // self._cycle_bytes)
        left = free_bytes - cycles * self._cycle_bytes
        fitting = cycles * self._size
        while left >= (need := self._blocks[-(self._step + fitting) % self._size]):
            left -= need
            fitting += 1
        return fitting

    def iterations_to_event(self) -> int:
        """See DecodeBatch."""
        soonest = _soonest(self._finishing)
        if self._bends:
            soonest = min(soonest, _soonest(self._bends))
        if self._saturations:
            soonest = min(soonest, _soonest(self._saturations))
        return soonest - self._step if soonest != UNBOUNDED else UNBOUNDED

    def totals(self, chunks: Sequence[Chunk], decoding: bool = True) -> tuple[BatchTotals, int]:
        """See DecodeBatch."""
        if not decoding:
            zeros = [0.0] * len(self._spans)
            totals = BatchTotals(len(chunks), 0, 0, zeros[:], zeros[:], zeros[:], zeros)
            return totals, add_chunks(totals, self._spans, chunks)
        count = self._count
        totals = BatchTotals(
            count + len(chunks),
            count,
            count,
            self._pairs[:],
            self._pairs_growth[:],
            self._touched[:],
            self._touched_growth[:],
        )
        return totals, add_chunks(totals, self._spans, chunks)

    def touched(self) -> list[float]:
        """See DecodeBatch."""
        return [*self._touched, *self._touched_growth]

    def advance(self, iterations: int) -> list[Request]:
        """See DecodeBatch."""
        self._step += iterations
        for i in range(len(self._spans)):
            self._pairs[i] += iterations * self._pairs_growth[i]
            self._touched[i] += iterations * self._touched_growth[i]
        if self._bends:
            self._rebase_bends()
        if self._saturations:
            self._rebase_blocks()
        return self._take_finished()

    def _tokens(self, request: Request) -> int:
        return request.joined_tokens + self._step - request.joined_step

    def _follow_span(self, i: int, request: Request, tokens: int) -> None:
        e = self._spans[i].extent(1, tokens)
        self._shift(i, e.pairs, e.pairs_growth, e.touched, e.touched_growth)
        if e.until != UNBOUNDED:
            reached = (
                e.pairs + e.until * e.pairs_growth,
                e.pairs_growth,
                e.touched + e.until * e.touched_growth,
                e.touched_growth,
            )
            heappush(self._bends, (self._step + e.until, request.ticket, i, request, reached))

    def _shift(self, i: int, pairs: float, pairs_growth: float, touched: float, touched_growth: float) -> None:
        self._pairs[i] += pairs
        self._pairs_growth[i] += pairs_growth
        self._touched[i] += touched
        self._touched_growth[i] += touched_growth

    def _follow_blocks(self, request: Request, tokens: int) -> None:
        next_bytes = self._layout.next_block_bytes(tokens)
        self._count_blocks(tokens, next_bytes)
        left = self._layout.tokens_until_cheaper(tokens)
        if left:
            heappush(self._saturations, (self._step + left, request.ticket, 0, request, (next_bytes,)))

    def _count_blocks(self, tokens: int, block_bytes: float) -> None:
        self._blocks[(tokens - self._step) % self._size] += block_bytes
        self._cycle_bytes += block_bytes

    def _rebase_bends(self) -> None:
        while self._bends and self._bends[0][0] <= self._step:
            _, ticket, i, request, (pairs, pairs_growth, touched, touched_growth) = heappop(self._bends)
            if request.ticket == ticket:
                self._shift(i, -pairs, -pairs_growth, -touched, -touched_growth)
                self._follow_span(i, request, self._tokens(request))

    def _rebase_blocks(self) -> None:
        while self._saturations and self._saturations[0][0] <= self._step:
            _, ticket, _, request, (next_bytes,) = heappop(self._saturations)
            if request.ticket == ticket:
                tokens = self._tokens(request)
                self._count_blocks(tokens, -next_bytes)
                self._follow_blocks(request, tokens)

    def _take_finished(self) -> list[Request]:
        finished = []
        while self._finishing and self._finishing[0][0] <= self._step:
            _, ticket, _, request, _ = heappop(self._finishing)
            if request.ticket == ticket:
                self.remove(request)
                finished.append(request)
        return finished


def _soonest(heap: list[_Entry]) -> int:
    """The step of the first entry that still counts."""
    while heap and heap[0][3].ticket != heap[0][1]:
        heappop(heap)
    return heap[0][0] if heap else UNBOUNDED


def add_chunks(totals: BatchTotals, spans: Sequence[Span], chunks: Iterable[Chunk]) -> int:
    """Adds prefill chunks to totals; returns for how many repetitions they grow evenly."""
    until = UNBOUNDED
    for request, tokens in chunks:
        totals.new_tokens += tokens
        if tokens == 1:
            totals.decode_tokens += 1
        for i, span in enumerate(spans):
            e = span.extent(tokens, request.computed_tokens)
            totals.pairs[i] += e.pairs
            totals.pairs_growth[i] += e.pairs_growth
            totals.touched[i] += e.touched
            totals.touched_growth[i] += e.touched_growth
            until = min(until, e.until)
    return until
