"""What a queue does with given arrivals and services, request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf

import numpy as np

Chooser = Callable[[float, list[list[float]]], int]


def lindley(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Waits of a single server, first come first served: W' = max(0, W + S - A) (Lindley 1952)."""
    waits = [0.0]
    for service, gap in zip(service_s.tolist(), np.diff(arrival_s).tolist(), strict=False):
        waits.append(max(0.0, waits[-1] + service - gap))
    return np.array(waits)


def kiefer_wolfowitz(arrival_s: np.ndarray, service_s: np.ndarray, servers: int) -> np.ndarray:
    """Waits of several servers with one queue, first come first served (Kiefer and Wolfowitz 1955).

    The vector of the times until each server would be free, in order of size: the least of them is the wait.
    """
    left, waits = [0.0] * servers, []
    gaps = np.diff(arrival_s, append=arrival_s[-1])
    for service, gap in zip(service_s.tolist(), gaps.tolist(), strict=True):
        waits.append(left[0])
        left[0] += service
        left = sorted(max(0.0, time - gap) for time in left)
    return np.array(waits)


def assign(
    arrival_s: np.ndarray, service_s: np.ndarray, servers: int, choose: Chooser
) -> tuple[np.ndarray, np.ndarray]:
    """Waits and servers, where each arrival goes to the queue of one server; ``choose`` sees the ends of all that was
    given to each."""
    ends: list[list[float]] = [[] for _ in range(servers)]
    starts, chosen = [], []
    for arrival, service in zip(arrival_s.tolist(), service_s.tolist(), strict=True):
        server = choose(arrival, ends)
        starts.append(max(arrival, ends[server][-1] if ends[server] else 0.0))
        ends[server].append(starts[-1] + service)
        chosen.append(server)
    return np.array(starts) - arrival_s, np.array(chosen)


def first_free(arrival_s: float, ends: list[list[float]]) -> int:
    """What takes from a central queue: the first server that is idle, else the one that is free first."""
    return min(range(len(ends)), key=lambda i: (max(arrival_s, ends[i][-1] if ends[i] else 0.0), i))


def shortest_queue(arrival_s: float, ends: list[list[float]]) -> int:
    """The first of the servers with the fewest requests that have not ended."""

    def present(i: int) -> int:
        # Ends come in order, and few of the last have not passed.
        number = 0
        while number < len(ends[i]) and ends[i][-1 - number] > arrival_s:
            number += 1
        return number

    return min(range(len(ends)), key=lambda i: (present(i), i))


def in_turn(arrival_s: float, ends: list[list[float]]) -> int:
    """The servers in turn."""
    return sum(map(len, ends)) % len(ends)


def repairman(
    users: Sequence[Iterator[tuple[float, float]]], servers: int, horizon_s: float
) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Users who think, wait for a server (first come first served), are served, and think again until the horizon.

    users: think and service times of each, one after another. Of equal arrivals that goes first whose thought began
    first, of equal ends the first server's. Returns arrival, start and end by user and turn.
    """
    created = count()
    arrivals: list[tuple[float, int, int, int, float]] = []
    ends: list[tuple[float, int, int, int]] = []
    free_s: list[float] = [0] * servers
    visits = {}

    def think(user: int, turn: int, now_s: float) -> None:
        think_s, service_s = next(users[user])
        heappush(arrivals, (now_s + think_s, next(created), user, turn, service_s))

    for user in range(len(users)):
        think(user, 0, 0)
    while True:
        arrival_s = arrivals[0][0] if arrivals else inf
        if ends and ends[0][0] <= arrival_s:
            end_s, _, user, turn = heappop(ends)
            think(user, turn + 1, end_s)
        elif arrival_s >= horizon_s:
            return visits
        else:
            arrival_s, _, user, turn, service_s = heappop(arrivals)
            server = min(range(servers), key=lambda i: (max(arrival_s, free_s[i]), i))
            start_s = max(arrival_s, free_s[server])
            free_s[server] = start_s + service_s
            heappush(ends, (free_s[server], server, user, turn))
            visits[user, turn] = arrival_s, start_s, free_s[server]


def processor_sharing(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Ends of requests that share one server equally.

    The service that each present request has had since the start rises at 1 / their number; a request ends when it has
    risen by its own.
    """
    ends = np.empty(len(arrival_s))
    present: list[tuple[float, int]] = []
    now_s = had_s = 0.0
    for request, arrival in enumerate([*arrival_s.tolist(), inf]):
        while present and now_s + (present[0][0] - had_s) * len(present) <= arrival:
            target_s, ending = present[0]
            now_s += (target_s - had_s) * len(present)
            had_s = target_s
            heappop(present)
            ends[ending] = now_s
        if request < len(arrival_s):
            had_s += (arrival - now_s) / len(present) if present else 0.0
            now_s = arrival
            heappush(present, (had_s + float(service_s[request]), request))
    return ends


def shortest_remaining(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Ends of requests of which always the one with the least left is served."""
    ends = np.empty(len(arrival_s))
    present: list[tuple[float, int]] = []
    now_s = 0.0
    for request, arrival in enumerate([*arrival_s.tolist(), inf]):
        while present and now_s + present[0][0] <= arrival:
            left_s, ending = heappop(present)
            now_s += left_s
            ends[ending] = now_s
        if present:
            left_s, served = heappop(present)
            heappush(present, (left_s - (arrival - now_s), served))
        now_s = arrival
        if request < len(arrival_s):
            heappush(present, (float(service_s[request]), request))
    return ends


def shortest_first(arrival_s: np.ndarray, service_s: np.ndarray, servers: int = 1) -> np.ndarray:
    """Waits where a server, whenever it is free, takes the shortest of those who wait, and the first of equal ones."""
    waits = np.empty(len(arrival_s))
    waiting: list[tuple[float, int]] = []
    free_s, following, now_s = [0.0] * servers, 0, 0.0
    while following < len(arrival_s) or waiting:
        now_s = max(now_s, heappop(free_s))
        if not waiting:
            now_s = max(now_s, float(arrival_s[following]))
        while following < len(arrival_s) and arrival_s[following] <= now_s:
            heappush(waiting, (float(service_s[following]), following))
            following += 1
        service, request = heappop(waiting)
        waits[request] = now_s - arrival_s[request]
        heappush(free_s, now_s + service)
    return waits


def boarding(arrival_s: np.ndarray, service_s: np.ndarray, step_s: float) -> np.ndarray:
    """When each request begins on a machine that serves any number at once in steps that all share.

    An idle machine begins its steps with an arrival; a busy one lets arrivals in between two of them.
    """
    starts, step_from_s, busy_until_s = np.empty(len(arrival_s)), 0.0, 0.0
    for request, (arrival, service) in enumerate(zip(arrival_s.tolist(), service_s.tolist(), strict=True)):
        if arrival >= busy_until_s:
            step_from_s = arrival
        starts[request] = step_from_s + np.ceil((arrival - step_from_s) / step_s) * step_s
        busy_until_s = max(busy_until_s, starts[request] + service)
    return starts
