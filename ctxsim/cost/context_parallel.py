"""Sequences divided over tensor-parallel groups of one replica (context parallelism).

A prompt's tokens, and their KV, lie on c groups in equal parts, taken from both ends so that causal pairs are even (as
ring attention in vLLM and Megatron deals them). Amounts are those of all groups together, rates too:

    products       of each token once; every group reads all weights (experts: those that its own tokens pick)
    prompts        every group reads the whole KV (latent rows are expanded by each); (c - 1) / c of it, past and new,
                   comes over the scale-up link to each rank (all-gather, or a ring: the same bytes), while the rest is
                   computed: the longer of both counts. Of windows only those at the borders of parts would come,
                   which are left out
    decode         each group reads its part of the KV; the partial sums of heads that are joined then are left out
    all-reduces    within a group, of its share of a prompt's tokens; of decoding ones, and of last ones, all on each

Unified view of long-sequence models (arXiv 2302.06218), ring attention (arXiv 2310.01889).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ctxsim.cost.operations import Operation
from ctxsim.geometry import Span


@dataclass(frozen=True, slots=True)
class Exchange:
    """KV that comes over the scale-up link while it is attended to; ``link_bytes_per_s``: at which that feeds all."""

    link_bytes_per_s: Any

    def bytes_per_s(self, decode_tokens: Any, hbm_bytes_per_s: Any) -> Any:
        """The slower of link and HBM (numbers, or arrays)."""
        if isinstance(hbm_bytes_per_s, int | float):
            return min(self.link_bytes_per_s, hbm_bytes_per_s)
        # Imported here: numbers need no arrays.
        import numpy as np

        return np.minimum(self.link_bytes_per_s, hbm_bytes_per_s)

    def waits_for_link(self, hbm_bytes_per_s: Any) -> bool:
        """Whether the link is the slower."""
        return bool(self.link_bytes_per_s < hbm_bytes_per_s)

    def of_rounds(self, tokens: float) -> Exchange:
        """Prompts alone are exchanged."""
        return self


def divide_context(
    operations: Sequence[Operation], spans: Sequence[Span], groups: int, ranks: int, link_bytes_per_s: Any | None
) -> tuple[Operation, ...]:
    """The operations of ``ranks`` accelerators in that many groups from those of one group; spans: told apart by phase.

    A rank waits for (c - 1) / c of its heads' KV, of which every group reads all: c x ranks / c x c / (c - 1) x link.
    """
    exchange = None if link_bytes_per_s is None else Exchange(ranks * groups / (groups - 1) * link_bytes_per_s)

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
            reader=exchange if kernel else op.reader,
        )

    return tuple(divided(op) for op in operations)
