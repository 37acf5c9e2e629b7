"""Which replica serves a request."""

from __future__ import annotations

from typing import Protocol


class Router(Protocol):
    """Chooses a replica for each request as it arrives."""

    def route(self, session: int) -> int:
        """The replica (0 .. replicas - 1) for the next request of a session."""
        ...


class RoundRobin:
    """The replicas in turn, whatever the session."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._next = 0

    def route(self, session: int) -> int:
        """See Router."""
        chosen = self._next
        self._next = (chosen + 1) % self._replicas
        return chosen


class SessionAffinity:
    """Always the same replica for one session; sessions are dealt out in turn."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def route(self, session: int) -> int:
        """See Router."""
        return session % self._replicas


ROUTERS: dict[str, type[RoundRobin] | type[SessionAffinity]] = {
    "round_robin": RoundRobin,
    "session_affinity": SessionAffinity,
}
