"""Workload schemas: one source of users, arrivals that fit the kind, quantities with units."""

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.document import parse_document
from ctxsim.spec.validation import Spec, validate
from ctxsim.spec.workload import Workload

SESSIONS = "kind: sessions, document_tokens: 50000, question_tokens: 0, answer_tokens: 250, think_time: 60 s"
REQUESTS = "kind: requests, prompt_tokens: 9, output_tokens: 0, num_requests: 3"


class Holder(Spec):
    workload: Workload


def read(body):
    return validate(Holder, parse_document(f"workload: {{{body}}}\n", "w.yaml")).workload


def refusal(body):
    with pytest.raises(SpecError) as caught:
        read(body)
    return [f"{fault.field}: {fault.message}" for fault in caught.value.faults]


def test_sessions_are_closed_by_users_or_open_by_arrival():
    assert read(f"{SESSIONS}, users: 20").users == 20
    assert read(f"{SESSIONS}, arrival: {{kind: poisson, rate: 6 /min}}").arrival.rate == 0.1
    assert refusal(SESSIONS) == ["workload.users: expected users or arrival, found neither; write e.g. users: 20"]
    assert refusal(f"{SESSIONS}, users: 2, arrival: {{kind: constant, rate: 1 /s}}") == [
        "workload.arrival: expected users or arrival, found both; remove one of them"
    ]


def test_a_closed_arrival_belongs_to_requests_only():
    assert read(f"{REQUESTS}, arrival: {{kind: closed, users: 4, think_time: 2 s}}").arrival.think_time == 2
    assert refusal(f"{SESSIONS}, arrival: {{kind: closed, users: 4}}") == [
        'workload.arrival.kind: expected one of poisson, gamma, constant, found "closed"'
    ]


@pytest.mark.parametrize(
    ("text", "mean_s"),
    [
        ("60 s", 60),
        ("{kind: constant, value: 1 min}", 60),
        ("{kind: exponential, mean: 2 min}", 120),
        ("{kind: lognormal, mean: 60 s, p95: 150 s}", 60),
    ],
)
def test_think_time_is_a_duration_or_a_distribution(text, mean_s):
    assert read(f"{SESSIONS.replace('60 s', text)}, users: 1").think_time.mean_s == mean_s


def test_zero_arrival_rate_and_zero_burstiness_are_refused():
    assert refusal(f"{REQUESTS}, arrival: {{kind: gamma, rate: 0 /s, burstiness: 0}}") == [
        'workload.arrival.rate: expected a rate of arrivals above zero, found "0 /s"; write e.g. "0.2 /s"',
        "workload.arrival.burstiness: expected a number above 0, found 0",
    ]


def test_a_trace_has_a_path_a_known_format_and_a_positive_scale():
    assert read("kind: trace, trace: a.jsonl, format: azure").time_scale == 1
    assert refusal("kind: trace, trace: '', format: mooncakes, time_scale: 0, num_requests: -1") == [
        'workload.trace: expected text that is not empty, found ""',
        'workload.format: expected one of mooncake, azure, agentic, vllm-bench, found "mooncakes"; '
        'did you mean "mooncake"?',
        "workload.time_scale: expected a number above 0, found 0",
        "workload.num_requests: expected a number of at least 1, found -1",
    ]


def test_a_trace_waits_for_answers_only_where_its_format_knows_sessions():
    assert read("kind: trace, trace: a.jsonl, format: azure").pace == "recorded"
    assert read("kind: trace, trace: a.jsonl, format: mooncake, pace: recorded").pace == "recorded"
    assert read("kind: trace, trace: a.parquet, format: agentic, pace: think_time").pace == "think_time"
    assert refusal("kind: trace, trace: a.jsonl, format: mooncake, pace: think_time") == [
        "workload.pace: expected recorded (the format mooncake does not say which requests make up a session), "
        'found "think_time"; write pace: recorded'
    ]
    assert refusal("kind: trace, trace: a.parquet, format: agentic, pace: thinktime") == [
        'workload.pace: expected one of recorded, think_time, found "thinktime"; did you mean "think_time"?'
    ]
