"""What weights are stored in where a replica is looked for: wide ones may become fp8, narrow ones stay as they are."""

from __future__ import annotations

import pytest

from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import session_at
from ctxsim.explore.fitting import fitted, why_none
from ctxsim.spec.scenario import load_scenario


@pytest.mark.parametrize(
    ("dtype", "served", "tried"),
    [("bf16", "fp8", "bf16 or fp8"), ("fp8", "fp8", "fp8"), ("int8", "int8", "int8"), ("int4", "int4", "int4")],
)
def test_narrow_weights_stay_as_they_are(dtype: str, served: str, tried: str) -> None:
    """405e9 weights on at most eight A100 of 79.25 GiB: 810 GB do not fit, 405 GB do."""
    overrides = {"model": "llama-3.1-405b", "deployment.tensor_parallel": 8, "serving.weight_dtype": dtype}
    scenario = load_scenario("yi-34b-50k-a100", overrides)
    session = session_at(typical_session(scenario), 4_000)
    found = fitted(scenario, session)
    assert found is not None
    assert found.serving.weight_dtype == served
    assert f"expected llama-3.1-405b in {tried} and one session" in why_none(scenario, session)
