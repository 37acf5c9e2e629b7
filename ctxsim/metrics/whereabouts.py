"""What became of sessions over time: the phases of their turns, and where their KV lay between two of them.

Where the next turn found its KV is known from its row, and when it had left HBM or host memory from the copies of the
session. Not known is when KV was dropped, and for prompts with block hashes, whose copies are nobody's, any moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ctxsim.metrics.phases import PHASES, phase_borders_s
from ctxsim.records import Records, Table

IN_HBM, IN_HOST, ON_DISK, DROPPED = "in HBM", "in host memory", "on disk", "dropped"
PLACES = (IN_HBM, IN_HOST, ON_DISK, DROPPED)
HIT_NAMES = ("hbm_hit_tokens", "host_hit_tokens", "disk_hit_tokens")
STEPS_DOWN = ((0, 1), (1, 2))
"""Source and target tier of the copies by which KV leaves HBM, and then host memory."""

MOST = 0.5
"""A session's KV has left a tier when this share of it has."""


class Span(NamedTuple):
    """A time in the life of a session: a phase of a turn, or a place of its KV between two turns.

    certain: whether its KV was there all that time, and nowhere else.
    """

    session: int
    start_s: float
    end_s: float
    what: str
    certain: bool = True


def first_sessions(requests: Records, number: int) -> Table:
    """The turns of so many sessions, those that came first, by session in order of arrival, then by turn."""
    ids, session = np.unique(requests["session"], return_inverse=True)
    start_s = np.full(len(ids), np.inf)
    np.minimum.at(start_s, session, requests["arrival_s"])
    place = np.argsort(np.argsort(start_s, kind="stable"))[session]
    chosen = np.flatnonzero(place < number)
    order = chosen[np.lexsort((requests["turn"][chosen], place[chosen]))]
    return Table({name: requests[name][order] for name in requests.names})


def session_spans(turns: Table, transfers: Records, inclusive: bool) -> Iterator[Span]:
    """The spans of sessions whose turns follow each other.

    inclusive: whether copies leave HBM as it was, so that KV which lies below may lie there as well.
    """
    copies = _copies_down(transfers, turns["session"])
    borders_s = phase_borders_s(turns)
    for i, session in enumerate(turns["session"].tolist()):
        if i and session == turns["session"][i - 1]:
            left_s = _left_s(turns, i, float(borders_s[i - 1, 4]), copies)
            yield from _gap(
                session, float(borders_s[i - 1, 4]), float(borders_s[i, 0]), _found(turns, i), left_s, inclusive
            )
        for phase, start_s, end_s in zip(PHASES, borders_s[i], borders_s[i, 1:], strict=False):
            if end_s > start_s:
                yield Span(session, float(start_s), float(end_s), phase)


def _gap(
    session: int, start_s: float, end_s: float, found: int, left_s: Sequence[float], inclusive: bool
) -> Iterator[Span]:
    """Where KV lay until the place in which it was found, as far as is known when it left those before it."""
    at_s = start_s
    for place, until_s in enumerate(left_s[:found]):
        if min(until_s, end_s) > at_s:
            yield Span(session, at_s, min(until_s, end_s), PLACES[place], not (place and inclusive))
        at_s = max(at_s, until_s)
    if end_s > at_s:
        # No copy tells when KV was dropped: of the steps down to there, one at least is never known.
        known = len(left_s) >= found
        yield Span(session, at_s, end_s, PLACES[found], known and not (found and inclusive))


def _found(turns: Table, i: int) -> int:
    """The place where a turn found most of what its session had computed before."""
    found = [int(turns[name][i]) for name in HIT_NAMES]
    return int(np.argmax([*found, turns["reusable_tokens"][i] - sum(found)]))


def _left_s(turns: Table, i: int, since_s: float, copies: Table) -> list[float]:
    """When the KV that a turn continues had left HBM, and then host memory, as far as copies tell."""
    wanted = MOST * turns["reusable_tokens"][i]
    in_gap = copies["session"] == turns["session"][i]
    in_gap &= (copies["end_s"] >= since_s) & (copies["end_s"] <= turns["admitted_s"][i])
    left_s: list[float] = []
    for source, target in STEPS_DOWN:
        mine = np.flatnonzero(in_gap & (copies["source"] == source) & (copies["target"] == target))
        gone = np.cumsum(copies["tokens"][mine])
        if not len(gone) or gone[-1] < wanted:
            break
        left_s.append(float(copies["end_s"][mine[np.searchsorted(gone, wanted)]]))
    return left_s


def _copies_down(transfers: Records, sessions: np.ndarray) -> Table:
    """The copies of these sessions' KV from a tier to the one below, in order of their end."""
    names = ("session", "source", "target", "tokens", "end_s")
    kept: list[Table] = [Table({name: np.empty(0) for name in names})]
    for part in transfers.parts():
        down = np.flatnonzero((part["target"] > part["source"]) & np.isin(part["session"], sessions))
        kept.append(Table({name: part[name][down] for name in names}))
    return Table({name: np.concatenate([part[name] for part in kept]) for name in names})
