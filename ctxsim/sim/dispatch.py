"""How requests come to replicas: sent to one by a router, or taken from one queue by whichever is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import simpy

from ctxsim.engine import ROUTERS, Queue, Router
from ctxsim.sim.journal import ServedRequest
from ctxsim.sim.jump import TIE_S
from ctxsim.sim.station import Station

CENTRAL = "central_queue"


class Dispatch(Protocol):
    """Hands requests to replicas."""

    def send(self, request: ServedRequest) -> bool:
        """The request arrives now; False where it cannot ever be served."""
        ...


class Routed:
    """A router chooses a replica for each request as it arrives.

    Under a policy that may hold sessions for their next turn, a session has KV on one replica only: it is let go where
    the session has left, else two replicas could each hold what the other's newcomers wait for.
    """

    def __init__(self, stations: Sequence[Station], router: Router) -> None:
        self._stations = stations
        self._router = router
        self._moves_home = len(stations) > 1 and any(s.core.cache.policy.holds for s in stations)
        self._homes: dict[int, Station] = {}

    def send(self, request: ServedRequest) -> bool:
        """See Dispatch."""
        station = self._stations[self._router.route(request)]
        fits = station.core.fits_alone(request)
        if fits:
            if self._moves_home:
                self._move(request, station)
            station.replica.deliver(request)
        return fits

    def _move(self, request: ServedRequest, station: Station) -> None:
        left = self._homes.get(request.session, station)
        if left is not station:
            left.replica.forget(request.session, request.arrival_s)
        if request.last:
            self._homes.pop(request.session, None)
        else:
            self._homes[request.session] = station


class CentralQueue:
    """All replicas take from one queue, each when it has room.

    A request can be taken at the first boundary that is not before its arrival (less TIE_S). An idle replica with room
    for it takes it at once, the first of several.
    """

    def __init__(self, env: simpy.Environment, stations: Sequence[Station], queue: Queue) -> None:
        self._env = env
        self._stations = stations
        self._queue = queue

    def send(self, request: ServedRequest) -> bool:
        """See Dispatch."""
        fits = all(station.core.fits_alone(request) for station in self._stations)
        if fits:
            # Replicas plan PLANNING_DELAY_S = 2 TIE_S after a boundary: they then see what came up to TIE_S after it.
            self._env.timeout(TIE_S).callbacks.append(lambda _: self._enter(request))
        return fits

    def _enter(self, request: ServedRequest) -> None:
        self._queue.add(request)
        for station in self._stations:
            station.replica.look_again(request.arrival_s)


def make_dispatch(env: simpy.Environment, name: str, stations: Sequence[Station], queue: Queue | None) -> Dispatch:
    """The dispatch of that name; ``queue``: what all replicas take from, where they do."""
    if queue is not None:
        return CentralQueue(env, stations, queue)
    return Routed(stations, ROUTERS[name](stations))
