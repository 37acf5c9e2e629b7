"""A workload's typical session: mean lengths, rounds, think time, users."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ClosedArrival, Requests, Sessions, Trace


@dataclass(frozen=True, slots=True)
class TypicalSession:
    """A session with mean lengths: a document, then rounds of question, answer and think time.

    A request is a session of one round whose document is its prompt. users: in a closed loop; arrivals_per_s:
    sessions per second in an open one (the other is None). most_tokens: the longest that a context of the workload can
    become; None where nothing limits it. found_tokens: of a prompt, what an unlimited cache would have of others.
    """

    document_tokens: int
    question_tokens: int
    answer_tokens: int
    rounds: int
    think_s: float
    users: int | None
    arrivals_per_s: float | None
    most_tokens: int | None = None
    found_tokens: int = 0

    @property
    def own_tokens(self) -> int:
        """Of the first prompt, what no other prompt has brought."""
        return max(1, self.document_tokens + self.question_tokens - self.found_tokens)

    @property
    def known_tokens(self) -> int:
        """Context whose KV has been computed when the first gap begins: that of an answer's last token is not."""
        return self.document_tokens + self.question_tokens + max(self.answer_tokens - 1, 0)

    @property
    def asked_tokens(self) -> int:
        """Of a later prompt, what is computed in any case: the question, and the last token of the answer before."""
        return self.question_tokens + min(self.answer_tokens, 1)


def typical_session(scenario: Scenario) -> TypicalSession:
    """The session that the closed form prices; of a trace, the mean request at its mean rate."""
    workload = scenario.workload
    if isinstance(workload, Sessions):
        return TypicalSession(
            round(workload.document_tokens.mean_tokens),
            round(workload.question_tokens.mean_tokens),
            round(workload.answer_tokens.mean_tokens),
            workload.rounds,
            workload.think_time.mean_s,
            workload.users,
            None if workload.arrival is None else workload.arrival.rate,
            _most_tokens(workload),
        )
    if isinstance(workload, Requests):
        return _request(workload)
    return _trace(workload, scenario.serving.enable_prefix_caching)


def _most_tokens(workload: Sessions) -> int | None:
    document, question, answer = (
        length.max_tokens for length in (workload.document_tokens, workload.question_tokens, workload.answer_tokens)
    )
    if document is None or question is None or answer is None:
        return None
    return document + workload.rounds * (question + answer)


def _request(workload: Requests) -> TypicalSession:
    prompt, output = round(workload.prompt_tokens.mean_tokens), round(workload.output_tokens.mean_tokens)
    arrival = workload.arrival
    if isinstance(arrival, ClosedArrival):
        return TypicalSession(prompt, 0, output, 1, arrival.think_time, arrival.users, None)
    return TypicalSession(prompt, 0, output, 1, 0.0, None, arrival.rate)


def _trace(workload: Trace, caching: bool) -> TypicalSession:
    # Imported here: numpy is a tenth of the start-up of a command that does without it.
    import numpy as np

    from ctxsim.workload import TraceSource, read_trace

    table = read_trace(workload.trace, workload.format, workload.num_requests, workload.time_scale)
    prompt = max(1, round(float(np.mean(table.prompt_tokens))))
    output = round(float(np.mean(table.output_tokens)))
    lasts_s = float(table.arrival_s[-1] - table.arrival_s[0])
    # At the users' own pace requests come as fast as they are answered.
    recorded = workload.pace == "recorded" and lasts_s > 0
    found = sum(demand.reusable_tokens for demand in TraceSource(table).initial()) if caching else 0
    return TypicalSession(
        prompt, 0, output, 1, 0.0, None, len(table) / lasts_s if recorded else None, found_tokens=found // len(table)
    )
