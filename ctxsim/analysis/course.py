"""The exact course of one request alone: prefill in chunks, then one growing step a token."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.analysis.session import TypicalSession
from ctxsim.analysis.turns import turns
from ctxsim.cost import CostModel, course_s, repetitions
from ctxsim.geometry import BatchTotals


@dataclass(frozen=True, slots=True)
class SessionCourse:
    """What one session takes with a replica to itself, its KV kept between rounds.

    first_token_s, last_token_s: of its first request. busy_s: all rounds; resident_s: of it, after the first prefill.
    passes: iterations. compute_s: FLOP time; own_bytes: HBM bytes besides streamed weights; both the least of any
    cutting of prompts into chunks, since a busy engine may cut them elsewhere.
    """

    first_token_s: float
    last_token_s: float
    busy_s: float
    resident_s: float
    passes: int
    compute_s: float
    own_bytes: float


@dataclass(slots=True)
class _Leg:
    """Totals of some tokens computed after some past, a fixed number an iteration."""

    seconds: float = 0.0
    passes: int = 0
    compute_s: float = 0.0
    own_bytes: float = 0.0

    def add(self, other: _Leg) -> None:
        """The other leg follows this one."""
        self.seconds += other.seconds
        self.passes += other.passes
        self.compute_s += other.compute_s
        self.own_bytes += other.own_bytes


def session_course(cost: CostModel, session: TypicalSession) -> SessionCourse:
    """The course of one session: each answer of n tokens is one prefill of what is new, then n - 1 steps."""
    opening, *later = turns(session)
    first = _prompt(cost, opening.new_tokens, 0)
    if session.found_tokens:
        first = _found(cost, first, session.own_tokens)
    total = _Leg()
    total.add(first)
    total.add(_leg(cost, opening.steps, opening.prompt_tokens, 1))
    first_round_s = total.seconds
    for turn in later:
        total.add(_prompt(cost, turn.new_tokens, turn.past_tokens))
        total.add(_leg(cost, turn.steps, turn.prompt_tokens, 1))
    return SessionCourse(
        first_token_s=first.seconds,
        last_token_s=first_round_s,
        busy_s=total.seconds,
        resident_s=total.seconds - first.seconds,
        passes=total.passes,
        compute_s=total.compute_s,
        own_bytes=total.own_bytes,
    )


def _prompt(cost: CostModel, tokens: int, past: int) -> _Leg:
    """A prompt in chunks, the last of which is what is left over; its work is that with the short chunk first.

    Each chunk reads the KV of all before it, so that is the least that can be read.
    """
    chunk = cost.scenario.serving.max_num_batched_tokens
    leg = _leg(cost, tokens, past, chunk)
    short = tokens % chunk
    if short and tokens > chunk:
        least = _leg(cost, short, past, chunk)
        least.add(_leg(cost, tokens - short, past + short, chunk))
        leg.compute_s, leg.own_bytes = least.compute_s, least.own_bytes
    return leg


def _found(cost: CostModel, alone: _Leg, tokens: int) -> _Leg:
    """A prompt of which only so many tokens have to be computed, in a cache that has the rest: the time is as alone.

    Its work is that of tokens with nothing before them, which for any split of prompts into both is no more than true.
    """
    least = _prompt(cost, tokens, 0)
    return _Leg(alone.seconds, least.passes, least.compute_s, least.own_bytes)


def _leg(cost: CostModel, tokens: int, past: int, per_iteration: int) -> _Leg:
    leg = _Leg()
    for batch, repeats in repetitions(cost.spans, tokens, past, per_iteration):
        leg.seconds += course_s(cost.law(batch), repeats)
        leg.passes += repeats
        middle = _at(batch, (repeats - 1) / 2)
        leg.compute_s += repeats * cost.compute_s(middle)
        leg.own_bytes += repeats * (cost.hbm_bytes(middle) - cost.streamed_bytes(middle))
    return leg


def _at(batch: BatchTotals, iteration: float) -> BatchTotals:
    """The totals at an iteration of a run; at its middle, their mean over the run."""
    return BatchTotals(
        batch.sequences,
        batch.new_tokens,
        batch.decode_tokens,
        [p + iteration * g for p, g in zip(batch.pairs, batch.pairs_growth, strict=True)],
        batch.pairs_growth,
        [t + iteration * g for t, g in zip(batch.touched, batch.touched_growth, strict=True)],
        batch.touched_growth,
    )
