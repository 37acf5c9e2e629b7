"""The operations of one pass and what each computes, moves and sends.

All amounts are of one replica, summed over the ranks of its tensor-parallel group; all rates are of the whole group.
FLOP count matrix products (multiply-add = 2). Bytes count what has to move at least: weights, KV cache, states;
activations are taken to stay on chip, which makes fidelity ``peak`` a lower bound on time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from ctxsim.geometry import BatchTotals


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one replica's accelerators together. Numbers, or numpy arrays to price many machines at once.

    ``plain_flop_per_s``: in the format of what is never quantised (weights.plain_dtype).
    ``link_bytes_per_s``: scale-up link, one way, of a single accelerator; None where collectives are free.
    ``network_bytes_per_s``: the same of its NIC, between scale-up domains. ``network_latency_s``: beside the bytes of
    each step.
    """

    plain_flop_per_s: Any
    weight_flop_per_s: Any
    hbm_bytes_per_s: Any
    link_bytes_per_s: Any | None
    network_bytes_per_s: Any | None = None
    network_latency_s: Any = 0.0

    def sent_s(self, op: Operation, batch: BatchTotals) -> Any:
        """Seconds that what each rank sends for a batch is on its way, without latencies."""
        rate = self.network_bytes_per_s if op.between_domains else self.link_bytes_per_s
        return op.link_bytes(batch) / rate if rate is not None and op.link_bytes_per_token else 0.0

    def waited_s(self, op: Operation) -> Any:
        """Seconds of latency in one pass, however much is sent."""
        return op.steps * self.network_latency_s if op.steps else 0.0


class Reader(Protocol):
    """How fast the bytes of an operation move, where that is not all of the HBM bandwidth."""

    def bytes_per_s(self, decode_tokens: Any, hbm_bytes_per_s: Any) -> Any:
        """Bytes a second in a batch of so many decoding tokens, where HBM has so much bandwidth."""
        ...

    def waits_for(self, hbm_bytes_per_s: Any) -> str:
        """What keeps it from moving them faster where that is not HBM: link or network; else nothing."""
        ...

    def of_rounds(self, tokens: float) -> Self:
        """The same where a pass computes so many tokens of each decoding sequence."""
        ...


@dataclass(frozen=True, slots=True)
class Leaving:
    """Layers that decoding tokens leave one by one; ``stays``: the share of them that computes each layer."""

    stays: tuple[float, ...]

    @property
    def depth_ratio(self) -> float:
        """The mean depth that a token reaches, as a share of all layers."""
        return sum(self.stays) / len(self.stays)

    def read_ratio(self, prompt_tokens: Any, decode_tokens: Any, picked_ratio: float = 1.0) -> Any:
        """Expected share of weights that are read by at least one token, each of which picks so many of a layer's.

        Tokens of prompts compute all layers.
        """
        unread = sum((1 - share * picked_ratio) ** decode_tokens for share in self.stays) / len(self.stays)
        return 1 - (1 - picked_ratio) ** prompt_tokens * unread


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a pass (all layers that have it), linear in the totals of the batch.

    FLOP = new_tokens * flop_per_token + decode_tokens * flop_per_decode_token + sequences * flop_per_sequence
    + pairs * flop_per_pair + touched * flop_per_touched; bytes likewise, plus ``bytes_per_pass``, and the routed
    experts: of ``experts`` with ``expert_bytes`` in all, experts * (1 - (1 - k / experts)^tokens) distinct are read.
    ``span``: which entry of the batch's pairs and touched belongs to it. ``link_bytes_per_token``: sent by a rank, over
    the scale-up link or ``between_domains``, then in so many ``steps`` a pass that each wait for the network.
    ``per_sequence``: what is said of tokens counts only the last one of each sequence. ``reader``: how fast its bytes
    are read, where that is not all of the HBM bandwidth. ``leaving``: how many decoding tokens compute each layer,
    where they leave early; ``leaving_bytes``: what of ``bytes_per_pass`` is read only for those that stay.
    ``*_per_decode_token``: what a decoding token takes beside, less than nothing where it is spared.
    ``weight_copies``: groups that divide the tokens, each of which reads weights of its own.
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
    bytes_per_decode_token: float = 0.0
    link_bytes_per_decode_token: float = 0.0
    weight_copies: int = 1
    per_sequence: bool = False
    reader: Reader | None = None
    leaving: Leaving | None = None
    leaving_bytes: float = 0.0
    between_domains: bool = False
    steps: int = 0

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
        rows = self.rows(batch)
        amount = self.streamed_bytes(rows, batch.decode_tokens) + rows * self.bytes_per_token
        amount = amount + batch.sequences * self.bytes_per_sequence
        if self.bytes_per_decode_token:
            amount = amount + batch.decode_tokens * self.bytes_per_decode_token
        return amount if self.span is None else amount + batch.touched[self.span] * self.bytes_per_touched

    def hbm_bytes_per_s(self, batch: BatchTotals, peak_bytes_per_s: Any) -> Any:
        """The rate at which its bytes move, where the device has so much bandwidth."""
        return (
            peak_bytes_per_s if self.reader is None else self.reader.bytes_per_s(batch.decode_tokens, peak_bytes_per_s)
        )

    def streamed_bytes(self, tokens: Any, decode_tokens: Any) -> Any:
        """Weight bytes that a pass over so many tokens, some of them decoding, reads, each once."""
        if self.leaving is not None:
            prompt_tokens, picked = tokens - decode_tokens, self.experts_per_token / self.experts
            spared = self.leaving_bytes * (1 - self.leaving.read_ratio(prompt_tokens, decode_tokens))
            experts = self.expert_bytes * self.leaving.read_ratio(prompt_tokens, decode_tokens, picked)
            return self.bytes_per_pass - spared + experts
        if not self.expert_bytes:
            return self.bytes_per_pass
        tokens_of_group = tokens if self.weight_copies == 1 else tokens / self.weight_copies
        return self.bytes_per_pass + self.expert_bytes * self.distinct_expert_ratio(tokens_of_group)

    def distinct_expert_ratio(self, tokens: Any) -> Any:
        """Expected share of the experts that at least one of ``tokens`` tokens is routed to (even routing)."""
        return 1 - (1 - self.experts_per_token / self.experts) ** tokens

    def link_bytes(self, batch: BatchTotals) -> Any:
        """Bytes each rank sends over the scale-up link, or between domains."""
        sent = self.rows(batch) * self.link_bytes_per_token
        if not self.link_bytes_per_decode_token:
            return sent
        return sent + batch.decode_tokens * self.link_bytes_per_decode_token

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
            bytes_per_decode_token=self.bytes_per_decode_token + other.bytes_per_decode_token,
            link_bytes_per_decode_token=self.link_bytes_per_decode_token + other.link_bytes_per_decode_token,
            leaving_bytes=self.leaving_bytes + other.leaving_bytes,
            steps=self.steps + other.steps,
        )


@dataclass(frozen=True, slots=True)
class OperationCost:
    """What one operation of one batch costs, and which resource binds it: compute, hbm, link or network.

    ``link_bytes``, ``link_s``: of the network for what is sent between scale-up domains.
    """

    name: str
    flop: Any
    hbm_bytes: Any
    link_bytes: Any
    compute_s: Any
    hbm_s: Any
    link_s: Any
    seconds: Any
    bound: str

    def weighed(self, weight: Any, prefix: str) -> OperationCost:
        """So much of it, under a name that begins so."""
        return OperationCost(
            prefix + self.name,
            weight * self.flop,
            weight * self.hbm_bytes,
            weight * self.link_bytes,
            weight * self.compute_s,
            weight * self.hbm_s,
            weight * self.link_s,
            weight * self.seconds,
            self.bound,
        )

    def plus(self, other: OperationCost) -> OperationCost:
        """Both together, bound by what binds the longer (of arrays, by nothing in particular)."""
        bound = self.bound if not self.bound or self.seconds >= other.seconds else other.bound
        return OperationCost(
            self.name,
            self.flop + other.flop,
            self.hbm_bytes + other.hbm_bytes,
            self.link_bytes + other.link_bytes,
            self.compute_s + other.compute_s,
            self.hbm_s + other.hbm_s,
            self.link_s + other.link_s,
            self.seconds + other.seconds,
            bound,
        )


def bound_of(compute_s: Any, hbm_s: Any, link_s: Any) -> str:
    """The resource that takes longest (compute wins ties)."""
    times = {"compute": compute_s, "hbm": hbm_s, "link": link_s}
    return max(times, key=lambda name: times[name])
