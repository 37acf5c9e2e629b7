"""What sessions say: made-up prompts and the answers of the model, as token ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Sequences:
    """The tokens of each session so far, document, questions and answers; equal seeds ask equal questions."""

    def __init__(self, vocab_size: int, seed: int) -> None:
        self._vocab_size = vocab_size
        self._seed = seed
        self._tokens: dict[int, list[int]] = {}

    def extend(self, session: int, tokens: int) -> None:
        """A prompt has come that makes the session so long."""
        said = self._tokens.setdefault(session, [])
        drawn = np.random.default_rng((self._seed, session, len(said)))
        said.extend(drawn.integers(self._vocab_size, size=tokens - len(said)).tolist())

    def append(self, session: int, token: int) -> None:
        """The model has said one more token."""
        self._tokens[session].append(token)

    def length(self, session: int) -> int:
        """Tokens so far."""
        return len(self._tokens[session])

    def part(self, session: int, start: int, end: int) -> Sequence[int]:
        """Tokens [start, end) of the session."""
        return self._tokens[session][start:end]

    def forget(self, session: int) -> None:
        """The session is over."""
        self._tokens.pop(session, None)
