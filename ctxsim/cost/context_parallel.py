"""Sequences divided over tensor-parallel groups of one replica (context parallelism).

A prompt's tokens, and their KV, lie on c groups in equal parts, taken from both ends so that causal pairs are even (as
ring attention in vLLM and Megatron deals them). Amounts are those of all groups together, rates too:

    products       of each token once; every group reads all weights (experts: those that its own tokens pick)
    prompts        every group reads the whole KV (latent rows are expanded by each); (c - 1) / c of it, past and new,
                   comes over the scale-up link to each rank (all-gather, or a ring: the same bytes), while the rest is
                   computed: the longer of both counts. Groups that lie over n sets of scale-up domains gather by
                   both: (n - 1) / c of it come over the network, once into each domain that has copies of it (latent
                   rows, few heads), by the NICs of all that need it, and from there over the link, at the same time:
                   the slower counts, latencies do not. Of windows only those at the borders of parts would come,
                   which are left out
    decode         each group reads its part of the KV; the partial sums of heads that are joined then are left out
    all-reduces    within a group, of its share of a prompt's tokens; of decoding ones, and of last ones, all on each

Unified view of long-sequence models (arXiv 2302.06218), ring attention (arXiv 2310.01889).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ctxsim.cost.operations import Operation, Rates
from ctxsim.geometry import Span


@dataclass(frozen=True, slots=True)
class Exchange:
    """KV that comes over the scale-up link while it is attended to; ``link_bytes_per_s``: at which that feeds all.

    by: what it comes by, the slower of link and network.
    """

    link_bytes_per_s: Any
    by: str = "link"

    @classmethod
    def of(cls, groups: int, ranks: int, rates: Rates, sets: int, copies: float) -> Exchange | None:
        """Of ``ranks`` accelerators in that many groups over so many sets of domains; None where nothing is waited for.

        A rank waits for (c - 1) / c of its heads' KV, of which every group reads all: c x ranks / c x c / (c - 1) x
        link. Of these (n - 1) / c come over the network, a part each where several ranks of a domain hold ``copies``:
        it counts as a link (c - 1) / (n - 1) x copies times as fast.
        """
        ways = {"link": rates.link_bytes_per_s}
        if sets > 1 and rates.network_bytes_per_s is not None:
            ways["network"] = rates.network_bytes_per_s * ((groups - 1) / (sets - 1)) * copies
        known = {by: rate for by, rate in ways.items() if rate is not None}
        if not known:
            return None
        by = min(known, key=lambda name: known[name])
        return cls(ranks * groups / (groups - 1) * known[by], by)

    def bytes_per_s(self, decode_tokens: Any, hbm_bytes_per_s: Any) -> Any:
        """The slower of link and HBM (numbers, or arrays)."""
        if isinstance(hbm_bytes_per_s, int | float):
            return min(self.link_bytes_per_s, hbm_bytes_per_s)
        # Imported here: numbers need no arrays.
        import numpy as np

        return np.minimum(self.link_bytes_per_s, hbm_bytes_per_s)

    def waits_for(self, hbm_bytes_per_s: Any) -> str:
        """What it comes by, where HBM is faster."""
        return self.by if self.link_bytes_per_s < hbm_bytes_per_s else ""

    def of_rounds(self, tokens: float) -> Exchange:
        """Prompts alone are exchanged."""
        return self


def divide_context(
    operations: Sequence[Operation], spans: Sequence[Span], groups: int, exchanges: Sequence[Exchange | None]
) -> tuple[Operation, ...]:
    """The operations of that many groups from those of one group; spans: told apart by phase; exchanges: of each."""

    def divided(op: Operation) -> Operation:
        # One query to all of a prompt is answered where the KV lies, as in decode.
        many = bool(op.flop_per_pair or op.bytes_per_pass)
        prompts = many and op.span is not None and spans[op.span].phase == "prefill" and spans[op.span].keeps_all
        sent = op.link_bytes_per_token / (1 if op.per_sequence else groups)
        kernel = prompts and not op.bytes_per_pass
        expands = prompts and not kernel
        return replace(
            op,
            bytes_per_pass=op.bytes_per_pass * groups,
            expert_bytes=op.expert_bytes * groups,
            leaving_bytes=op.leaving_bytes * groups,
            weight_copies=groups,
            flop_per_touched=op.flop_per_touched * (groups if expands else 1),
            bytes_per_touched=op.bytes_per_touched * (groups if prompts else 1),
            link_bytes_per_token=sent,
            link_bytes_per_decode_token=op.link_bytes_per_decode_token + op.link_bytes_per_token - sent,
            reader=exchanges[op.span] if kernel and op.span is not None else op.reader,
        )

    return tuple(divided(op) for op in operations)
