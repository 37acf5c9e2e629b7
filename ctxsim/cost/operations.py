"""The operations of one pass and what each computes, moves and sends.

All amounts are of one replica, summed over the ranks of its tensor-parallel group; all rates are of the whole group.
FLOP count matrix products (multiply-add = 2). Bytes count what has to move at least: weights, KV cache, states;
activations are taken to stay on chip, which makes fidelity ``peak`` a lower bound on time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ctxsim.geometry import BatchTotals


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one replica's accelerators together. Numbers, or numpy arrays to price many machines at once.

    ``plain_flop_per_s``: in the format of what is never quantised (weights.plain_dtype).
    ``link_bytes_per_s``: scale-up link, one way, of a single accelerator; None where collectives are free.
    """

    plain_flop_per_s: Any
    weight_flop_per_s: Any
    hbm_bytes_per_s: Any
    link_bytes_per_s: Any | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a pass (all layers that have it), linear in the totals of the batch.

    FLOP = new_tokens * flop_per_token + decode_tokens * flop_per_decode_token + sequences * flop_per_sequence
    + pairs * flop_per_pair + touched * flop_per_touched; bytes likewise, plus ``bytes_per_pass``, and the routed
    experts: of ``experts`` with ``expert_bytes`` in all, experts * (1 - (1 - k / experts)^tokens) distinct are read.
    ``span``: which entry of the batch's pairs and touched belongs to it. ``link_bytes_per_token``: sent by a rank.
    ``per_sequence``: what is said of tokens counts only the last one of each sequence.
    """

    name: str
    flop_per_s: Any = 1.0
    flop_per_token: float = 0.0
    flop_per_decode_token: float = 0.0
    flop_per_sequence: float = 0.0
    bytes_per_pass: float = 0.0
    bytes_per_token: float = 0.0
    bytes_per_sequence: float = 0.0
    expert_bytes: float = 0.0
    experts: int = 1
    experts_per_token: int = 1
    span: int | None = None
    flop_per_pair: float = 0.0
    flop_per_touched: float = 0.0
    bytes_per_touched: float = 0.0
    link_bytes_per_token: float = 0.0
    per_sequence: bool = False

    def rows(self, batch: BatchTotals) -> Any:
        """Tokens of a batch that the operation computes."""
        return batch.sequences if self.per_sequence else batch.new_tokens

    def flop(self, batch: BatchTotals) -> Any:
        """FLOP of the operation on a batch."""
        amount = self.rows(batch) * self.flop_per_token + batch.sequences * self.flop_per_sequence
        amount = amount + batch.decode_tokens * self.flop_per_decode_token
        if self.span is None:
            return amount
        return amount + batch.pairs[self.span] * self.flop_per_pair + batch.touched[self.span] * self.flop_per_touched

    def hbm_bytes(self, batch: BatchTotals) -> Any:
        """Bytes of HBM traffic of the operation on a batch."""
        amount = self.streamed_bytes(self.rows(batch)) + self.rows(batch) * self.bytes_per_token
        amount = amount + batch.sequences * self.bytes_per_sequence
        return amount if self.span is None else amount + batch.touched[self.span] * self.bytes_per_touched

    def streamed_bytes(self, tokens: Any) -> Any:
        """Weight bytes that a pass over so many tokens reads, each once."""
        if not self.expert_bytes:
            return self.bytes_per_pass
        return self.bytes_per_pass + self.expert_bytes * self.distinct_expert_ratio(tokens)

    def distinct_expert_ratio(self, tokens: Any) -> Any:
        """Expected share of the experts that at least one of ``tokens`` tokens is routed to (even routing)."""
        return 1 - (1 - self.experts_per_token / self.experts) ** tokens

    def link_bytes(self, batch: BatchTotals) -> Any:
        """Bytes each rank sends over the scale-up link."""
        return self.rows(batch) * self.link_bytes_per_token

    def merged(self, other: Operation) -> Operation:
        """This operation and another of the same name, kernel and expert shape as one."""
        return replace(
            self,
            flop_per_token=self.flop_per_token + other.flop_per_token,
            flop_per_decode_token=self.flop_per_decode_token + other.flop_per_decode_token,
            flop_per_sequence=self.flop_per_sequence + other.flop_per_sequence,
            bytes_per_pass=self.bytes_per_pass + other.bytes_per_pass,
            bytes_per_token=self.bytes_per_token + other.bytes_per_token,
            bytes_per_sequence=self.bytes_per_sequence + other.bytes_per_sequence,
            expert_bytes=self.expert_bytes + other.expert_bytes,
            flop_per_touched=self.flop_per_touched + other.flop_per_touched,
            link_bytes_per_token=self.link_bytes_per_token + other.link_bytes_per_token,
        )


@dataclass(frozen=True, slots=True)
class OperationCost:
    """What one operation of one batch costs, and which resource binds it: compute, hbm or link."""

    name: str
    flop: Any
    hbm_bytes: Any
    link_bytes: Any
    compute_s: Any
    hbm_s: Any
    link_s: Any
    seconds: Any
    bound: str


def bound_of(compute_s: Any, hbm_s: Any, link_s: Any) -> str:
    """The resource that takes longest (compute wins ties)."""
    times = {"compute": compute_s, "hbm": hbm_s, "link": link_s}
    return max(times, key=lambda name: times[name])
