"""The closed form of a session at full load beside simulated fleets that are full."""

from __future__ import annotations

import pytest

from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import session_cost
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

SESSIONS = {
    "kind": "sessions", "users": 50, "document_tokens": 4_000, "rounds": 2, "question_tokens": 50, "answer_tokens": 40,
    "think_time": "5 s",
}  # fmt: skip
SERVED = {
    "deployment.router": "session_affinity", "serving.max_num_batched_tokens": 1024, "serving.max_num_seqs": 64,
    "serving.host_kv_capacity": "200 GB", "run.horizon": "120 s", "workload": SESSIONS,
}  # fmt: skip
FULL = {
    "documents": {},
    "long documents": {"workload.document_tokens": 16_000},
    "long answers": {"workload.users": 200, "workload.document_tokens": 1_000, "workload.answer_tokens": 300},
    "held in HBM": {"workload.users": 200, "serving.residency": "keep"},
}


def ratio(scenario):
    """Seconds of a replica a session, simulated over closed."""
    served_s = 3600 / simulate(scenario).summary["sessions_per_hour"]
    return served_s / session_cost(scenario, typical_session(scenario)).total.seconds


@pytest.mark.parametrize("load", FULL)
def test_a_full_fleet_costs_about_what_the_closed_form_says(load):
    found = ratio(load_scenario("llama-8b-chat", SERVED | FULL[load]))
    assert 0.8 < found < 1.6, found


@pytest.mark.parametrize("name", ["paper-34b-50k", "yi-34b-50k-a100", "yi-34b-50k-one-a100"])
def test_shipped_fleets_that_are_full_too(name):
    found = ratio(load_scenario(name))
    assert 0.8 < found < 1.6, found
