"""The turns of a typical session: what each computes, and after how much context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ctxsim.analysis.session import TypicalSession


class Turn(NamedTuple):
    """A prompt's new tokens after a past, then ``steps`` of one token each; the first token is the prompt's own."""

    new_tokens: int
    past_tokens: int
    steps: int

    @property
    def prompt_tokens(self) -> int:
        """The context of the first step."""
        return self.past_tokens + self.new_tokens

    @property
    def known_tokens(self) -> int:
        """Context whose KV has been computed when the turn ends: that of the answer's last token is not."""
        return self.prompt_tokens + self.steps


def turns(session: TypicalSession) -> Iterator[Turn]:
    """The turns of a session that keeps its KV.

    From the second on, what is new is the question and the last answer's last token, whose KV was never stored.
    """
    steps = max(session.answer_tokens - 1, 0)
    turn = Turn(session.document_tokens + session.question_tokens, 0, steps)
    yield turn
    question = session.question_tokens + (1 if session.answer_tokens else 0)
    for _ in range(session.rounds - 1):
        turn = Turn(question, turn.known_tokens, steps)
        yield turn
