"""Sessions whose turns come at recorded times, whether or not the one before is answered: when each of them is over."""

from __future__ import annotations

from collections.abc import Callable

from ctxsim.workload.demand import Demand


class Recorded:
    """The sessions of several turns that may come again or are being served.

    One is over when its last turn has come, or nothing comes any more (``cut``), and all that came is served or
    refused: ``on_over`` is then called, for an earlier turn may have left KV after the last one was done.
    """

    def __init__(self, on_over: Callable[[int], None]) -> None:
        self._on_over = on_over
        self._under_way: dict[int, int] = {}
        self._last_came: set[int] = set()
        self._cut = False

    def came(self, demand: Demand) -> None:
        """A request arrives."""
        session = demand.session
        if demand.hashes is None and (demand.turn or not demand.last):
            self._under_way[session] = self._under_way.get(session, 0) + 1
            if demand.last:
                self._last_came.add(session)

    def is_alone(self, session: int) -> bool:
        """Whether no more than one of the session's requests is under way."""
        return self._under_way.get(session, 0) <= 1

    def went(self, demand: Demand) -> None:
        """A request is served or refused."""
        session = demand.session
        if session in self._under_way:
            self._under_way[session] -= 1
            self._end_if_over(session)

    def cut(self) -> None:
        """Nothing comes any more."""
        self._cut = True
        for session in list(self._under_way):
            self._end_if_over(session)

    def _end_if_over(self, session: int) -> None:
        if not self._under_way[session] and (self._cut or session in self._last_came):
            del self._under_way[session]
            self._last_came.discard(session)
            self._on_over(session)
