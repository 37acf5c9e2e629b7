"""Sub-agents of agentic traces: who sent them out, and when on the clock of the conversation."""

from __future__ import annotations

import numpy as np

from ctxsim.workload.readers.agents import Sessions, known_think_times, number_sessions, place_agents

NAN = float("nan")

NAMES = ["main", "main/a", "main/b", "main/a/x", "lone/c"]


def sessions(*rows: tuple[int, str]) -> Sessions:
    """The sessions of rows of (trace, agent)."""
    traces, agents = zip(*rows, strict=True)
    return number_sessions(np.array(traces), np.array([NAMES.index(agent) for agent in agents]), NAMES)


def test_an_agent_is_sent_out_by_the_one_its_name_begins_with_in_the_same_trace() -> None:
    numbered = sessions((0, "main"), (0, "main/a"), (0, "main/a/x"), (1, "main/b"), (1, "lone/c"), (2, "main"))
    assert numbered.of_row.tolist() == [0, 1, 2, 3, 4, 5]
    assert numbered.sent_by.tolist() == [-1, 0, 1, -1, -1, -1], "trace 1 has no main, and nobody is called lone"
    assert numbered.sent_out == [1, 2]


def test_agents_of_agents_come_after_their_sender() -> None:
    numbered = number_sessions(np.zeros(3, np.int64), np.array([0, 1, 2]), ["main/a/x", "main/a", "main"])
    assert numbered.sent_by.tolist() == [1, 2, -1]
    assert numbered.sent_out == [1, 0]


def test_names_without_a_sender_send_themselves_nowhere() -> None:
    assert number_sessions(np.zeros(2, np.int64), np.array([0, 1]), ["", "main"]).sent_by.tolist() == [-1, -1]


def test_a_think_time_longer_than_its_gap_is_unknown() -> None:
    numbered = sessions((0, "main"), (0, "main"), (0, "main"), (0, "main"), (0, "main/a"))
    think = known_think_times(numbered, np.array([0.0, 10.0, 15.0, 20.0, 0.0]), np.array([9.0, 10.0, 5.5, NAN, 3.0]))
    # A first request has no gap, and no use for its think time either.
    assert np.isnan(think).tolist() == [False, False, True, True, False]
    assert think[[0, 1, 4]].tolist() == [9.0, 10.0, 3.0]


def test_an_agent_begins_with_the_answer_to_the_request_it_stands_behind() -> None:
    numbered = sessions((0, "main"), (0, "main"), (0, "main/a"), (0, "main/a"), (0, "main/b"), (0, "main"))
    t_s = np.array([0.0, 10.0, 0.0, 4.0, 1.0, 50.0])
    placed = place_agents(numbered, t_s, np.array([0.0, 1.0, 0.0, 1.0, 0.0, 30.0]))
    # The request at 50 s thought for 30 s: the one at 10 s was answered at 20 s.
    assert placed.arrival_s.tolist() == [0.0, 10.0, 20.0, 24.0, 21.0, 50.0]
    assert placed.begins_after.tolist() == [-1, -1, 1, 1, 1, -1]
    assert placed.release_delay_s.tolist() == [0.0, 0.0, 0.0, 4.0, 1.0, 0.0]


def test_without_a_known_answer_an_agent_begins_when_the_request_was_sent() -> None:
    numbered = sessions((0, "main"), (0, "main/a"), (0, "main"), (0, "main/b"))
    placed = place_agents(numbered, np.array([3.0, 0.0, 10.0, 0.0]), np.array([0.0, 0.0, NAN, 0.0]))
    assert placed.arrival_s.tolist() == [3.0, 3.0, 10.0, 10.0]
    assert placed.begins_after.tolist() == [-1, 0, -1, 2]


def test_an_agent_before_its_conversation_keeps_its_recorded_times() -> None:
    numbered = sessions((0, "main/a"), (0, "main"), (0, "main/a"))
    placed = place_agents(numbered, np.array([2.0, 0.0, 9.0]), np.array([0.0, 0.0, 1.0]))
    assert placed.arrival_s.tolist() == [2.0, 0.0, 9.0]
    assert placed.begins_after.tolist() == [-1, -1, -1]
    assert placed.release_delay_s.tolist() == [0.0, 0.0, 0.0]


def test_an_agent_of_an_agent_is_placed_on_the_clock_of_the_conversation() -> None:
    numbered = sessions((0, "main"), (0, "main/a"), (0, "main/a/x"), (0, "main/a"), (0, "main"))
    placed = place_agents(numbered, np.array([0.0, 0.0, 0.0, 8.0, 40.0]), np.array([0.0, 0.0, 0.0, 5.0, 30.0]))
    # main was answered at 10 s, its agent 3 s later.
    assert placed.arrival_s.tolist() == [0.0, 10.0, 13.0, 18.0, 40.0]
    assert placed.begins_after.tolist() == [-1, 0, 1, 0, -1]


def test_agents_of_other_traces_are_left_alone() -> None:
    numbered = sessions((0, "main"), (0, "main"), (1, "main"), (1, "main/a"), (1, "main"))
    placed = place_agents(numbered, np.array([0.0, 70.0, 0.0, 0.0, 9.0]), np.array([0.0, 60.0, 0.0, 0.0, 4.0]))
    assert placed.arrival_s.tolist() == [0.0, 70.0, 0.0, 5.0, 9.0]
    assert placed.begins_after.tolist() == [-1, -1, -1, 2, -1]
