"""How long iterations last on a replica that serves as many sessions as HBM has room for.

An engine acts between iterations: a copy that ends meanwhile frees its room, or is of use, when the iteration is over.
At a random moment of an iteration that is half of it later, and in the mean over time i / 2, where

    i = (m c^2 + k d^2) / (m c + k d)

with B = min(max_num_seqs, KV pool / KV of a session) sessions served side by side, m = B n iterations of c seconds that
compute a chunk of somebody's document (n chunks of the token budget each) beside the others' answers, and k iterations
of d seconds for what these leave of rounds x (answer - 1) tokens of each, in which answers alone are computed.
"""

from __future__ import annotations

from math import ceil

from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel
from ctxsim.geometry import BatchTotals


def iteration_s(cost: CostModel, session: TypicalSession, tokens: int) -> float:
    """That mean, of sessions with so much context; 0 where nothing is computed."""
    serving = cost.scenario.serving
    held_bytes = float(cost.layout.held_bytes(tokens))
    room = cost.memory.kv_capacity_bytes / held_bytes if held_bytes else serving.max_num_seqs
    served = max(1, min(serving.max_num_seqs, int(room)))
    chunks = ceil(tokens / serving.max_num_batched_tokens)
    new = ceil(tokens / chunks)
    chunk, answers = cost.batch(new, (tokens - new) // 2), cost.batch(1, tokens, sequences=served)
    mixed, alone = served * chunks, max(0, session.rounds * (session.answer_tokens - 1) - served * chunks)
    mixed_s, alone_s = float(cost.pass_s(_beside(chunk, answers))), float(cost.pass_s(answers))
    return (mixed * mixed_s**2 + alone * alone_s**2) / ((mixed * mixed_s + alone * alone_s) or 1.0)


def _beside(one: BatchTotals, other: BatchTotals) -> BatchTotals:
    """Both in one iteration."""

    def both(name: str) -> list[float]:
        return [first + second for first, second in zip(getattr(one, name), getattr(other, name), strict=True)]

    return BatchTotals(
        one.sequences + other.sequences, one.new_tokens + other.new_tokens, one.decode_tokens + other.decode_tokens,
        both("pairs"), both("pairs_growth"), both("touched"), both("touched_growth"),
    )  # fmt: skip
