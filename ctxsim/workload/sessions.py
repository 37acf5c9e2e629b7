"""Sources of conversations: turns of question and answer over a document, each sent after the last was answered.

The prompt of turn 0 is document + question, that of turn t all of turn t - 1 (prompt and answer) + question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import TypeVar

from ctxsim.spec.workload import OpenArrival, Sessions
from ctxsim.workload.demand import Demand
from ctxsim.workload.draws import Purpose, arrival_stream, length_stream, time_stream

T = TypeVar("T")


@dataclass(slots=True)
class _Talk:
    """What a conversation draws on, turn by turn: endless, or as long as its session."""

    user: int
    questions: Iterator[int]
    answers: Iterator[int]
    think_times_s: Iterator[float]


class _Conversations:
    """The sessions under way, and the numbering of sessions and demands in order of creation."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._indices = count()
        self._talks: dict[int, _Talk] = {}
        self.begun = 0

    def begin(self, talk: _Talk, arrival_s: float, document_tokens: int) -> Demand:
        """The first turn of a new session."""
        session = self.begun
        self.begun += 1
        self._talks[session] = talk
        prompt_tokens = document_tokens + next(talk.questions)
        last = self._rounds == 1
        return Demand(next(self._indices), arrival_s, prompt_tokens, next(talk.answers), session, turn=0, last=last)

    def proceed(self, demand: Demand, finished_s: float) -> Demand | _Talk:
        """The next turn of the demand's session, one think time on; its talk where that was the last turn."""
        talk = self._talks[demand.session]
        turn = demand.turn + 1
        if turn == self._rounds:
            return self._talks.pop(demand.session)
        arrival_s = finished_s + next(talk.think_times_s)
        return Demand(
            next(self._indices),
            arrival_s,
            demand.prompt_tokens + demand.output_tokens + next(talk.questions),
            next(talk.answers),
            demand.session,
            turn,
            # The last token of an answer is put out, never fed back: its KV is not computed.
            reusable_tokens=demand.prompt_tokens + max(demand.output_tokens - 1, 0),
            last=turn == self._rounds - 1,
        )


class ClosedSessions:
    """Users who hold one session after another, a think time between two.

    User u of U begins at u / U of a (mean) think time. New sessions begin in order of release until
    ``num_sessions`` were begun, or for ever; what a user draws does not depend on the other users.
    """

    warnings: tuple[str, ...] = ()
    releases = True

    def __init__(self, spec: Sessions, users: int, seed: int) -> None:
        self._spec, self._users, self._seed = spec, users, seed
        self._documents: list[Iterator[int]] = []
        self._conversations = _Conversations(spec.rounds)

    @property
    def num_requests(self) -> int | None:
        """Turns of all sessions; None where only the horizon ends the run."""
        return _num_turns(self._spec)

    def initial(self) -> Iterator[Demand]:
        """The first turn of every user's first session, staggered, unless early users have begun them all."""
        for user in range(self._users):
            if self._conversations.begun == self._spec.num_sessions:
                return
            documents = length_stream(self._spec.document_tokens, self._seed, Purpose.DOCUMENTS, user)
            self._documents.append(documents)
            yield self._begin(self._talk(user), user / self._users * self._spec.think_time.mean_s)

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The next turn of the session, or the first of the user's next session; none when all were begun."""
        following = self._conversations.proceed(demand, finished_s)
        if isinstance(following, Demand):
            return (following,)
        if self._conversations.begun == self._spec.num_sessions:
            return ()
        return (self._begin(following, finished_s + next(following.think_times_s)),)

    def _begin(self, talk: _Talk, arrival_s: float) -> Demand:
        return self._conversations.begin(talk, arrival_s, next(self._documents[talk.user]))

    def _talk(self, user: int) -> _Talk:
        spec = self._spec
        return _Talk(
            user=user,
            questions=length_stream(spec.question_tokens, self._seed, Purpose.QUESTIONS, user),
            answers=length_stream(spec.answer_tokens, self._seed, Purpose.ANSWERS, user),
            think_times_s=time_stream(spec.think_time, self._seed, Purpose.THINKING, user),
        )


class OpenSessions:
    """Sessions that arrive on their own; within one, each turn waits for the answer to the last.

    All turns of a session are drawn when it begins, in order of arrival, so that no draw depends on completions.
    """

    warnings: tuple[str, ...] = ()
    releases = True

    def __init__(self, spec: Sessions, arrival: OpenArrival, seed: int) -> None:
        self._spec, self._arrival, self._seed = spec, arrival, seed
        self._conversations = _Conversations(spec.rounds)

    @property
    def num_requests(self) -> int | None:
        """Turns of all sessions; None where only the horizon ends the run."""
        return _num_turns(self._spec)

    def initial(self) -> Iterator[Demand]:
        """The first turn of every session in order of arrival; endless without ``num_sessions``."""
        spec, seed = self._spec, self._seed
        documents = length_stream(spec.document_tokens, seed, Purpose.DOCUMENTS)
        questions = length_stream(spec.question_tokens, seed, Purpose.QUESTIONS)
        answers = length_stream(spec.answer_tokens, seed, Purpose.ANSWERS)
        think_times_s = time_stream(spec.think_time, seed, Purpose.THINKING)
        for arrival_s in islice(arrival_stream(self._arrival, seed), spec.num_sessions):
            talk = _Talk(
                user=self._conversations.begun,
                questions=_next_few(questions, spec.rounds),
                answers=_next_few(answers, spec.rounds),
                think_times_s=_next_few(think_times_s, spec.rounds - 1),
            )
            yield self._conversations.begin(talk, arrival_s, next(documents))

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        """The next turn of the session, or none after its last."""
        following = self._conversations.proceed(demand, finished_s)
        return (following,) if isinstance(following, Demand) else ()


def _next_few(stream: Iterator[T], number: int) -> Iterator[T]:
    return iter(tuple(islice(stream, number)))


def _num_turns(spec: Sessions) -> int | None:
    return None if spec.num_sessions is None else spec.num_sessions * spec.rounds
