"""The decode batch with running sums beside the one without any: whatever is done to both, they agree."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ctxsim.engine import IncrementalBatch, PlainBatch, Request
from ctxsim.geometry import UNBOUNDED, BatchTotals, KvLayout, Span

spans = st.lists(
    st.one_of(
        st.builds(Span, st.just("full"), st.just(0), st.sampled_from(["any", "prefill", "decode"])),
        st.builds(Span, st.sampled_from(["sliding", "chunked", "topk"]), st.integers(1, 30)),
    ),
    min_size=1,
    max_size=4,
)
lengths = st.tuples(st.integers(1, 60), st.integers(2, 40))


class BatchMachine(RuleBasedStateMachine):
    """Requests join, leave, and decode; each request is there twice, once for each batch."""

    @initialize(spans=spans, block_size=st.sampled_from([1, 2, 5, 16]), state_bytes=st.sampled_from([0.0, 7.0]))
    def build(self, spans: list[Span], block_size: int, state_bytes: float) -> None:
        held = [(Span(s.kind, s.tokens), (1.0, 2.5, 4.0)[i % 3]) for i, s in enumerate(spans)]
        self.spans = tuple(spans)
        self.layout = KvLayout(held, state_bytes, block_size)
        self.quick = IncrementalBatch(spans, self.layout)
        self.plain = PlainBatch(spans, self.layout)
        self.pairs: list[tuple[Request, Request]] = []
        self.index = 0

    @rule(lengths=lengths, done=st.integers(1, 10))
    def add(self, lengths: tuple[int, int], done: int) -> None:
        """A request whose prompt was just computed; after a preemption it has more than one output already."""
        prompt, output = lengths
        pair = (Request(self.index, prompt, output), Request(self.index, prompt, output))
        self.index += 1
        for request in pair:
            request.generated_tokens = min(done, output - 1)
        self.quick.add(pair[0], prompt + pair[0].generated_tokens - 1)
        self.plain.add(pair[1], prompt + pair[1].generated_tokens - 1)
        self.pairs.append(pair)

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        pair = self.pairs.pop(data.draw(st.integers(0, len(self.pairs) - 1)))
        assert self.quick.remove(pair[0]) == self.plain.remove(pair[1])
        assert pair[0].generated_tokens == pair[1].generated_tokens
        assert pair[0].ticket == 0

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        """Any number of iterations that the quick batch allows in a row is the same as one after the other."""
        limit = self.quick.iterations_to_event()
        assert 1 <= limit < UNBOUNDED, "some sequence finishes some time"
        iterations = data.draw(st.integers(1, limit))
        batch, until = self.quick.totals([])
        assert until == UNBOUNDED
        demand_bytes = self.quick.demand_bytes(iterations)
        assert demand_bytes == self.plain.demand_bytes(iterations)
        finished = [r.index for r in self.quick.advance(iterations)]
        for k in range(iterations):
            assert grown(batch, k) == amounts(self.plain.totals([])[0])
            assert not (ended := [r.index for r in self.plain.advance(1)]) or k == iterations - 1
        assert finished == ended
        self.pairs = [pair for pair in self.pairs if pair[0].index not in finished]

    @precondition(lambda self: self.pairs)
    @rule(data=st.data(), new=st.integers(1, 40), past=st.integers(0, 80))
    def with_a_chunk(self, data: st.DataObject, new: int, past: int) -> None:
        """Totals with a chunk of prefill beside the decoding sequences, for as long as they are said to hold."""
        chunk = Request(-1, past + 100 * new, 1)
        chunk.computed_tokens = past
        batch, until = self.quick.totals([(chunk, new)])
        assert until >= 1
        k = data.draw(st.integers(0, min(until, self.quick.iterations_to_event(), 90) - 1))
        chunk.computed_tokens = past + k * new
        alone = PlainBatch(self.spans, self.layout)
        for pair in self.pairs:
            alone.add(Request(0, 1, 99), self.plain._tokens[pair[1]] + k)
        assert grown(batch, k) == amounts(alone.totals([(chunk, new)])[0])

    @precondition(lambda self: self.pairs)
    @rule(data=st.data(), spare=st.sampled_from([0.0, 0.5, 3.0, 100.0]))
    def fit(self, data: st.DataObject, spare: float) -> None:
        """As many iterations fit as the plain batch has room for, one by one; exactly full still fits."""
        limit = self.quick.iterations_to_event()
        room = self.plain.demand_bytes(data.draw(st.integers(1, limit))) + spare
        fitting = max(k for k in range(1, limit + 1) if self.plain.demand_bytes(k) <= room)
        assert self.quick.fitting_iterations(room, limit) == fitting

    @invariant()
    def same_totals(self) -> None:
        if hasattr(self, "quick"):
            assert len(self.quick) == len(self.plain) == len(self.pairs)
            assert amounts(self.quick.totals([])[0]) == amounts(self.plain.totals([])[0])
            assert self.quick.demand_bytes(1) == self.plain.demand_bytes(1)


def amounts(batch: BatchTotals) -> tuple[object, ...]:
    """What a batch computes and touches now."""
    return batch.sequences, batch.new_tokens, batch.decode_tokens, *batch.pairs, *batch.touched


def grown(batch: BatchTotals, k: int) -> tuple[object, ...]:
    """What a batch is said to compute and touch after k repetitions."""
    return (
        batch.sequences,
        batch.new_tokens,
        batch.decode_tokens,
        *(p + k * g for p, g in zip(batch.pairs, batch.pairs_growth, strict=True)),
        *(t + k * g for t, g in zip(batch.touched, batch.touched_growth, strict=True)),
    )


TestBatchMachine = BatchMachine.TestCase
TestBatchMachine.settings = settings(max_examples=100, stateful_step_count=30)
