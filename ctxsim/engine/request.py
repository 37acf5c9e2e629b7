"""A request while it is being served, as the engine sees it: tokens, never seconds."""

from __future__ import annotations


class Request:
    """One request's progress.

    prefill_tokens: tokens to compute before the next output token: the prompt, after a preemption also the outputs so
    far. computed_tokens: those of them that have KV. generated_tokens: output tokens so far. joined_tokens,
    joined_step: KV tokens and batch step when it last began to decode; ticket: its current stay in the decode batch
    (0: none). preemptions, recomputed_tokens: how often and how much it lost.
    """

    __slots__ = (
        "computed_tokens",
        "generated_tokens",
        "index",
        "joined_step",
        "joined_tokens",
        "output_tokens",
        "preemptions",
        "prefill_tokens",
        "prompt_tokens",
        "recomputed_tokens",
        "ticket",
    )

    def __init__(self, index: int, prompt_tokens: int, output_tokens: int) -> None:
        self.index = index
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.prefill_tokens = prompt_tokens
        self.computed_tokens = 0
        self.generated_tokens = 0
        self.joined_tokens = 0
        self.joined_step = 0
        self.ticket = 0
        self.preemptions = 0
        self.recomputed_tokens = 0

    @property
    def largest_context(self) -> int:
        """KV tokens when its last output token is made: that token's own KV is never stored."""
        return self.prompt_tokens + max(self.output_tokens - 1, 0)

    def lose_cache(self, stored_tokens: int) -> None:
        """Becomes a request whose KV is gone: prompt and outputs so far have to be prefilled again."""
        self.preemptions += 1
        self.recomputed_tokens += stored_tokens
        self.prefill_tokens = self.prompt_tokens + self.generated_tokens
        self.computed_tokens = 0
