"""Speculative decoding: an iteration of one token a sequence as its share of a round of drafting and verifying.

A round drafts n tokens for every decoding sequence, one pass of the draft each, and verifies them in one pass of n + 1
tokens a sequence; E = (1 - a^(n+1)) / (1 - a) of them are kept on average (Leviathan et al., arXiv 2211.17192). The
engine goes on seeing one token a sequence and iteration, of which each costs 1 / E of a round:

    no prompts     (n x draft pass + verifying pass) / E
    with prompts   a pass of the prompts' tokens and of the verification of 1 / E of the sequences, whose draft passes
                   come on top: rounds need not begin together

so that work is conserved, and no iteration is shorter than what prompts, or answers, take alone. In numbers: verifying
reads each sequence's KV once for its n + 1 tokens, and makes their pairs; a top-k selection is read for each of them. A
state is read and written for every token of a round, as one that may have to go back. The n draft passes are counted at
their mean context. KV of tokens that are rejected is written over: its bytes are left out, as are those of LayerSkip's
verification that the first layers' results would spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ctxsim.cost.compiling import compile_operations, spans_of
from ctxsim.cost.law import Law, Piece
from ctxsim.cost.operations import Operation, Rates
from ctxsim.geometry import UNBOUNDED, BatchTotals, ContextClass, Span, attention_classes
from ctxsim.spec.domains import Domains
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.speculation import Speculation


class Part(NamedTuple):
    """A pass that an iteration has ``weight`` of: its operations, its batch, and what of that is for ``decodes``.

    ``who``: which of the passes of a round it is; a pass of all there is has none.
    """

    operations: Sequence[Operation]
    batch: BatchTotals
    decodes: BatchTotals | None
    weight: Any
    who: int = -1


VERIFYING, BESIDE_PROMPTS, DRAFTING, DRAFT_PROMPTS = range(4)


@dataclass(frozen=True, slots=True)
class Drafter:
    """The draft's operations and context; ``reads_prompts``: whether it has to compute prompts for itself.

    ``classes``: whose spans they are. ``held``: what it keeps beside the model's KV.
    """

    operations: tuple[Operation, ...]
    classes: tuple[ContextClass, ...]
    spans: tuple[Span, ...]
    held: tuple[tuple[Span, float], ...]
    reads_prompts: bool


def drafter_of(scenario: Scenario, speculation: Speculation, rates: Rates) -> Drafter:
    """The draft of a scenario: a part of the model itself shares its weights and KV, another one has its own."""
    model, serving, ranks = scenario.draft, scenario.serving, scenario.deployment.tensor_parallel
    assert model is not None
    apart = speculation.draft.model is not None
    whole = attention_classes(model, serving.kv_dtype, ranks, by_phase=True)
    most = speculation.kv_budget_tokens
    classes = whole if most is None else tuple(_within(c, most) for c in whole)
    domains = Domains.of(scenario.deployment, scenario.hardware).of_group
    operations = compile_operations(model, classes, serving.weight_dtype, ranks, rates, domains)
    own = [c for c, before in zip(classes, whole, strict=True) if apart or c.held != before.held]
    return Drafter(operations, classes, spans_of(classes), tuple((c.held, c.bytes_per_token) for c in own), apart)


def _within(c: ContextClass, tokens: int) -> ContextClass:
    """The class with at most so many tokens kept and read, where it kept all."""

    def cut(span: Span) -> Span:
        return Span("sliding", tokens, span.phase) if span.kind == "full" else span

    return replace(c, held=cut(c.held), reads=tuple(replace(read, span=cut(read.span)) for read in c.reads))


class Rounds:
    """What iterations are made of; ``spans``: those of the model, which batch totals list before those of the draft."""

    def __init__(
        self, speculation: Speculation, operations: Sequence[Operation], spans: Sequence[Span], drafter: Drafter
    ) -> None:
        self.drafter = drafter
        self._drafted = speculation.draft_tokens
        self._share = 1 / speculation.tokens_per_round
        self._spans = tuple(spans)
        together = self._drafted + 1
        self.operations = (
            _of_rounds(operations, together),
            _of_rounds(operations, together * self._share),
            drafter.operations,
            drafter.operations,
        )

    def parts(self, batch: BatchTotals) -> list[Part]:
        """The passes of one iteration; numbers, or arrays. Those that it has nothing of are left out of numbers."""
        decodes, prompts = self._apart(batch, "decode"), self._apart(batch, "prefill")
        decoding, prefilling = decodes.new_tokens > 0, prompts.new_tokens > 0
        verified, beside = self._verified(decodes, 1.0), self._verified(decodes, self._share)
        drafted, draft_prompts = self._drafted_steps(decodes), self._of_draft(prompts)
        nothing = _scaled(draft_prompts, 0.0)
        found = [
            self._part(VERIFYING, verified, verified, (1 - prefilling) * decoding * self._share),
            self._part(BESIDE_PROMPTS, _sum(self._of_model(prompts), beside), beside, prefilling * 1.0),
            self._part(DRAFTING, drafted, drafted, decoding * self._drafted * self._share),
        ]
        if self.drafter.reads_prompts:
            found.append(self._part(DRAFT_PROMPTS, draft_prompts, nothing, prefilling * 1.0))
        return [part for part in found if getattr(part.weight, "ndim", 0) or part.weight]

    def _part(self, who: int, batch: BatchTotals, decodes: BatchTotals, weight: Any) -> Part:
        return Part(self.operations[who], batch, decodes, weight, who)

    def _apart(self, batch: BatchTotals, phase: str) -> BatchTotals:
        """The sequences of the batch that decode, or the chunks of prompts; one of a single token decodes."""
        spans, decoding = (*self._spans, *self.drafter.spans), phase == "decode"
        tokens = batch.decode_tokens if decoding else batch.new_tokens - batch.decode_tokens

        def of_phase(amounts: Sequence[Any]) -> list[Any]:
            return [x if span.phase == phase else 0.0 for span, x in zip(spans, amounts, strict=True)]

        return BatchTotals(
            batch.decode_tokens if decoding else batch.sequences - batch.decode_tokens,
            tokens,
            tokens if decoding else 0,
            of_phase(batch.pairs),
            of_phase(batch.pairs_growth),
            of_phase(batch.touched),
            of_phase(batch.touched_growth),
        )

    def _of_model(self, batch: BatchTotals) -> BatchTotals:
        return _cut(batch, slice(0, len(self._spans)))

    def _of_draft(self, batch: BatchTotals) -> BatchTotals:
        return _cut(batch, slice(len(self._spans), None))

    def _verified(self, decodes: BatchTotals, share: float) -> BatchTotals:
        """n + 1 tokens of that share of the sequences in one pass."""
        own, together, sequences = self._of_model(decodes), self._drafted + 1, decodes.sequences
        tokens = sequences * (together * share)
        pairs, touched, growth = [], [], []
        for span, made, read, grows in zip(self._spans, own.pairs, own.touched, own.touched_growth, strict=True):
            decoded = span.phase == "decode"
            among = sequences * (together * together - together) / 2 if span.kind == "full" and decoded else 0.0
            pairs.append(share * (together * made + among))
            each = together if span.kind == "topk" else 1
            more = sequences * (together - 1) if decoded and span.kind != "topk" else 0.0
            touched.append(share * (each * read + more))
            growth.append(share * each * grows)
        pairs_growth = [share * together * grows for grows in own.pairs_growth]
        return BatchTotals(tokens, tokens, tokens, pairs, pairs_growth, touched, growth)

    def _drafted_steps(self, decodes: BatchTotals) -> BatchTotals:
        """One token of every sequence at the mean context of the round's draft passes."""
        own, later = self._of_draft(decodes), decodes.sequences * ((self._drafted - 1) / 2)
        grows = [span.kind == "full" and span.phase == "decode" for span in self.drafter.spans]
        return replace(
            own,
            pairs=[made + later if on else made for made, on in zip(own.pairs, grows, strict=True)],
            touched=[read + later if on else read for read, on in zip(own.touched, grows, strict=True)],
        )


class SpeculativeLaw:
    """The time of an iteration from those of its passes; ``laws``: of each kind, as Rounds.operations has them."""

    def __init__(self, rounds: Rounds, laws: Sequence[Law]) -> None:
        self._rounds = rounds
        self._laws = tuple(laws)

    def __call__(self, batch: BatchTotals) -> list[Piece]:
        """See Law."""
        parts = self._rounds.parts(batch)
        return added([(part.weight, list(self._laws[part.who](part.batch))) for part in parts])


def added(terms: Sequence[tuple[float, Sequence[Piece]]]) -> list[Piece]:
    """Pieces of a sum of laws with weights: they end wherever one of a term does."""
    ends = sorted({piece.until for _, pieces in terms for piece in pieces})
    found, start = [], 0
    for end in ends or [UNBOUNDED]:
        at = [(weight, *_at(pieces, start)) for weight, pieces in terms]
        first_s = sum(weight * seconds for weight, seconds, _ in at)
        found.append(Piece(end, first_s, sum(weight * growth_s for weight, _, growth_s in at)))
        start = end
    return found


def _at(pieces: Sequence[Piece], iteration: int) -> tuple[float, float]:
    """Seconds at an iteration, and their growth."""
    start = 0
    for piece in pieces:
        if iteration < piece.until:
            return piece.first_s + (iteration - start) * piece.growth_s, piece.growth_s
        start = piece.until
    raise AssertionError("a law's last piece has no end")


def _of_rounds(operations: Sequence[Operation], tokens: float) -> tuple[Operation, ...]:
    """The operations with kernels that read KV once for so many tokens of a sequence."""
    return tuple(op if op.reader is None else replace(op, reader=op.reader.of_rounds(tokens)) for op in operations)


def _cut(batch: BatchTotals, part: slice) -> BatchTotals:
    return replace(
        batch,
        pairs=batch.pairs[part],
        pairs_growth=batch.pairs_growth[part],
        touched=batch.touched[part],
        touched_growth=batch.touched_growth[part],
    )


def _scaled(batch: BatchTotals, factor: float) -> BatchTotals:
    return BatchTotals(
        factor * batch.sequences,
        factor * batch.new_tokens,
        factor * batch.decode_tokens,
        *([factor * x for x in amounts] for amounts in _amounts(batch)),
    )


def _sum(one: BatchTotals, other: BatchTotals) -> BatchTotals:
    return BatchTotals(
        one.sequences + other.sequences,
        one.new_tokens + other.new_tokens,
        one.decode_tokens + other.decode_tokens,
        *([x + y for x, y in zip(a, b, strict=True)] for a, b in zip(_amounts(one), _amounts(other), strict=True)),
    )


def _amounts(batch: BatchTotals) -> tuple[list[Any], ...]:
    return batch.pairs, batch.pairs_growth, batch.touched, batch.touched_growth
