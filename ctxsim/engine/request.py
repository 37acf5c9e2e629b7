"""A request while it is being served, as the engine sees it: tokens, never seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ctxsim.engine.extents import Extent


class Request:
    """One request's progress.

    session, last, hashes: whose context it continues, whether no later turn will, and the hashes of its full blocks.
    known_tokens: leading tokens whose KV was computed before. prefill_tokens: tokens to compute before the next output
    token: the prompt, after a preemption also the outputs so far. computed_tokens: those of them that have KV.
    queued_tokens: of the tokens to prefill, those of which no KV was kept when it was queued, where the queue asks.
    generated_tokens: output tokens so far. hit_tokens: prompt tokens found in each tier.
    tail: the last of the kept extents it holds, in the cache that is its home; pending: copies it waits for.
    joined_tokens, joined_step: KV tokens and batch step when it last began to decode; ticket: its current stay in the
    decode batch (0: none). preemptions, recomputed_tokens: how often and how much it lost.
    """

    __slots__ = (
        "computed_tokens",
        "generated_tokens",
        "hashes",
        "hit_tokens",
        "home",
        "index",
        "joined_step",
        "joined_tokens",
        "known_tokens",
        "last",
        "lost_tokens",
        "output_tokens",
        "pending",
        "preemptions",
        "prefill_tokens",
        "prompt_tokens",
        "queued_tokens",
        "recomputed_tokens",
        "session",
        "tail",
        "ticket",
    )

    def __init__(
        self, index: int, prompt_tokens: int, output_tokens: int, session: int = 0, known_tokens: int = 0,
        last: bool = True, hashes: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        self.index = index
        self.session = session
        self.last = last
        self.hashes = hashes
        self.known_tokens = known_tokens
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.prefill_tokens = prompt_tokens
        self.queued_tokens = prompt_tokens
        self.computed_tokens = 0
        self.generated_tokens = 0
        self.hit_tokens = [0, 0, 0]
        self.tail: Extent | None = None
        self.home: object = None
        self.pending = 0
        self.lost_tokens = 0
        self.joined_tokens = 0
        self.joined_step = 0
        self.ticket = 0
        self.preemptions = 0
        self.recomputed_tokens = 0

    @property
    def largest_context(self) -> int:
        """KV tokens when its last output token is made: that token's own KV is never stored."""
        return self.prompt_tokens + max(self.output_tokens - 1, 0)

    @property
    def cacheable(self) -> bool:
        """Whether KV of its prompt may be there already, or what it computes may be of use later."""
        return self.known_tokens > 0 or not self.last

    def preempt(self, stored_tokens: int) -> None:
        """Its KV is no longer its own: prompt and outputs so far are to be prefilled, or found, again."""
        self.preemptions += 1
        self.lost_tokens = stored_tokens
        self.prefill_tokens = self.queued_tokens = self.prompt_tokens + self.generated_tokens
        self.computed_tokens = 0

    def resume(self, found_tokens: int) -> None:
        """Begins to be served, with that much KV at hand; what it lost beyond that is computed again."""
        self.computed_tokens = found_tokens
        self.recomputed_tokens += max(0, self.lost_tokens - found_tokens)
        self.lost_tokens = 0
