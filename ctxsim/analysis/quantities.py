"""The four quantities of long-context serving: concurrency, prefill, decode, context switch.

Source: Fu, "Challenges in Deploying Long-Context Transformers", arXiv 2405.08944. Works on numbers, and on numpy
arrays with numpy.minimum and numpy.maximum for ``minimum`` and ``maximum``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ctxsim.cost import CostModel, transfer_s


@dataclass(frozen=True, slots=True)
class FourQuantities:
    """Concurrency (sessions whose KV fits), prefill of the document, decode of an answer, switch of a session.

    prefill_s: the document in one pass. decode_step_s: one token at the document's KV; decode_answer_s: an answer of
    such steps. switch_s: one session's KV out and another's in.
    """

    kv_bytes_per_session: Any
    kv_capacity_bytes: Any
    concurrent_sessions: Any
    prefill_flop: Any
    prefill_s: Any
    decode_step_s: Any
    decode_answer_s: Any
    switch_s: Any


def four_quantities(
    cost: CostModel,
    document_tokens: Any,
    answer_tokens: Any,
    minimum: Callable[..., Any] = min,
    maximum: Callable[..., Any] = max,
) -> FourQuantities:
    """The four quantities of a document and an answer on one replica."""
    kv_bytes = cost.layout.held_bytes(document_tokens, minimum)
    capacity = maximum(cost.memory.kv_capacity_bytes, 0.0)
    prefill = cost.batch(document_tokens, 0, minimum)
    step_s = cost.pass_s(cost.batch(1, document_tokens - 1, minimum), maximum)
    return FourQuantities(
        kv_bytes_per_session=kv_bytes,
        kv_capacity_bytes=capacity,
        concurrent_sessions=capacity / kv_bytes,
        prefill_flop=cost.flop(prefill),
        prefill_s=cost.pass_s(prefill, maximum),
        decode_step_s=step_s,
        decode_answer_s=answer_tokens * step_s,
        switch_s=transfer_s(kv_bytes + kv_bytes, cost.host_link_bytes_per_s),
    )
