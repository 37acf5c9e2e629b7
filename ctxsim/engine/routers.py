"""Which replica serves a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ctxsim.engine.request import Request


class Load(Protocol):
    """What a router may see of a replica."""

    @property
    def outstanding(self) -> int:
        """Requests it was given that have not ended."""
        ...

    def kept_tokens(self, request: Request) -> int:
        """Leading tokens of the prompt whose KV it keeps, in whatever tier."""
        ...

    def waiting_tokens(self) -> int:
        """Prompt tokens of the requests it was given that it has not begun to serve."""
        ...


class Router(Protocol):
    """Chooses a replica for each request as it arrives."""

    def route(self, request: Request) -> int:
        """The replica (0 .. replicas - 1) for a request."""
        ...


class RoundRobin:
    """The replicas in turn, whatever the session."""

    def __init__(self, replicas: Sequence[Load]) -> None:
        self._replicas = len(replicas)
        self._next = 0

    def route(self, request: Request) -> int:
        """See Router."""
        chosen = self._next
        self._next = (chosen + 1) % self._replicas
        return chosen


class SessionAffinity:
    """Always the same replica for one session; sessions are dealt out in turn."""

    def __init__(self, replicas: Sequence[Load]) -> None:
        self._replicas = len(replicas)

    def route(self, request: Request) -> int:
        """See Router."""
        return request.session % self._replicas


class LeastLoaded:
    """The replica with the fewest requests that have not ended; the first of equal ones."""

    def __init__(self, replicas: Sequence[Load]) -> None:
        self._replicas = replicas

    def route(self, request: Request) -> int:
        """See Router."""
        return min(range(len(self._replicas)), key=lambda i: (self._replicas[i].outstanding, i))


class PrefixAware:
    """The replica that has the fewest tokens to compute before this prompt is done: what waits there already, and of
    the prompt what is not kept there; of equal ones that with the fewest requests."""

    def __init__(self, replicas: Sequence[Load]) -> None:
        self._replicas = replicas

    def route(self, request: Request) -> int:
        """See Router."""
        return min(range(len(self._replicas)), key=lambda i: self._work(self._replicas[i], request, i))

    def _work(self, replica: Load, request: Request, number: int) -> tuple[int, int, int]:
        to_compute = replica.waiting_tokens() + request.prompt_tokens - replica.kept_tokens(request)
        return to_compute, replica.outstanding, number


ROUTERS: dict[str, Callable[[Sequence[Load]], Router]] = {
    "round_robin": RoundRobin,
    "least_loaded": LeastLoaded,
    "session_affinity": SessionAffinity,
    "prefix_aware": PrefixAware,
}
"""A central queue is no router: its replicas take requests themselves."""
