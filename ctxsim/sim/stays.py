"""Who was in which runs of a replica: a row for a chunk of a prompt, and one for a stay among those who decode."""

from __future__ import annotations

from collections.abc import Iterable

from ctxsim.engine import Request
from ctxsim.engine.decoding import Chunk
from ctxsim.sim.journal import Journal


class Stays:
    """The stays of one replica. runs: how many it had; steps: of their iterations, those in which anyone decodes.

    Of a sequence that decodes it is enough to know between which runs it did, and how much KV it would have had at step
    0: it stores one token more a step.
    """

    def __init__(self, replica: int, journal: Journal) -> None:
        self._replica = replica
        self._journal = journal
        self.runs = 0
        self.steps = 0
        self._open: dict[Request, tuple[int, int]] = {}

    def computed(self, chunks: Iterable[Chunk]) -> None:
        """A run is over that computed these chunks, but the requests do not know yet."""
        for request, tokens in chunks:
            row = (request.index, self._replica, self.runs, tokens, request.computed_tokens)
            self._journal.chunks.append(row)

    def joined(self, requests: Iterable[Request]) -> None:
        """They decode from the next run on. The KV of the last token that they made is not stored yet."""
        for request in requests:
            stored = request.prompt_tokens + request.generated_tokens - 1
            self._open[request] = self.runs, stored - self.steps

    def left(self, requests: Iterable[Request]) -> None:
        """They do not decode any more, if they did."""
        for request in requests:
            stay = self._open.pop(request, None)
            if stay is not None:
                self._close(request, *stay)

    def cut(self) -> None:
        """Stays under way end here and begin anew: what follows is accounted for apart."""
        for request, (since, tokens) in self._open.items():
            self._close(request, since, tokens)
            self._open[request] = self.runs, tokens

    def _close(self, request: Request, since: int, tokens: int) -> None:
        if since < self.runs:
            self._journal.stays.append((request.index, self._replica, since, self.runs, tokens))
