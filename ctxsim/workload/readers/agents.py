"""Conversations and the sub-agents they send out: all on the clock of their conversation.

A sub-agent counts its seconds from where the conversation sent it out ("Raw kv-cache-tester traces store subagent
request t values relative to the subagent marker": ai-dynamo/aiperf, docs/tutorials/weka-trace.md). In the file its
rows stand at that place, behind the request whose answer sent it out; it is taken to begin with that answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctxsim.workload.blocks import Ints
from ctxsim.workload.traces import NO_PARENT, Floats, turns


@dataclass(frozen=True, slots=True)
class Sessions:
    """Which session each row belongs to (``of_row``), and which session sent out each session, or ``NO_PARENT``."""

    of_row: Ints
    sent_by: Ints

    @property
    def sent_out(self) -> list[int]:
        """The sub-agents, those of a conversation before those of its sub-agents."""
        depth = np.zeros(len(self.sent_by), np.int64)
        above = self.sent_by
        while (above != NO_PARENT).any():
            depth += above != NO_PARENT
            above = np.where(above == NO_PARENT, NO_PARENT, self.sent_by[above])
        sent: list[int] = np.argsort(depth, kind="stable")[np.count_nonzero(depth == 0) :].tolist()
        return sent


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows on the clock of their conversation: arrivals, and what a session waits for that begins with the row."""

    arrival_s: Floats
    begins_after: Ints
    release_delay_s: Floats


def number_sessions(trace: Ints, agent: Ints, agent_names: list[str]) -> Sessions:
    """The sessions of rows given by the numbers of their trace and agent: one for each pair that occurs.

    The agent "main/agent_001" was sent out by "main" of the same trace, if that occurs.
    """
    names = {name: number for number, name in enumerate(agent_names)}
    sender = np.array([names.get(name.rpartition("/")[0], NO_PARENT) if "/" in name else NO_PARENT for name in names])
    pairs, of_row = np.unique(trace * len(names) + agent, return_inverse=True)
    sender_of = sender[pairs % len(names)]
    wanted = pairs // len(names) * len(names) + sender_of
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    return Sessions(of_row, np.where((sender_of != NO_PARENT) & (pairs[place] == wanted), place, NO_PARENT))


def known_think_times(sessions: Sessions, t_s: Floats, think_time_s: Floats) -> Floats:
    """The think times, NaN where one is longer than the recorded gap since the request before it: no pause is."""
    turn, parent = turns(sessions.of_row)
    return np.where((turn > 0) & (think_time_s > t_s - t_s[parent]), np.nan, think_time_s)


def place_agents(sessions: Sessions, t_s: Floats, think_time_s: Floats) -> Placed:
    """Every sub-agent where its conversation sent it out; one that no row stands before keeps its recorded times."""
    arrival_s, begins_after = t_s.copy(), np.full(len(t_s), NO_PARENT)
    grouped = np.argsort(sessions.of_row, kind="stable")
    rows_of = np.split(grouped, np.cumsum(np.bincount(sessions.of_row))[:-1])
    for session in sessions.sent_out:
        rows, senders = rows_of[session], rows_of[sessions.sent_by[session]]
        before = int(np.searchsorted(senders, rows[0]))
        if before:
            arrival_s[rows] += _answered_s(senders[before - 1 : before + 1], arrival_s, think_time_s)
            begins_after[rows] = senders[before - 1]
    return Placed(arrival_s, begins_after, np.where(begins_after == NO_PARENT, 0.0, t_s))


def _answered_s(rows: Ints, arrival_s: Floats, think_time_s: Floats) -> float:
    """When the first of two requests was answered: a think time before the second.

    Without a second (the first is the last row then) or its think time, when the first was sent.
    """
    sent_s, answered_s = float(arrival_s[rows[0]]), float(arrival_s[rows[-1]] - think_time_s[rows[-1]])
    return answered_s if answered_s >= sent_s else sent_s
