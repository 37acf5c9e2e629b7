"""Scenarios of shipped models on shipped machines, small enough to be simulated token by token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctxsim.spec.scenario import Scenario, load_scenario

Lengths = int | Mapping[str, Any]


def closed_requests(
    model: str,
    hardware: str = "h200-sxm",
    *,
    prompt: Lengths = 100,
    output: Lengths = 10,
    users: int = 1,
    think_time: str = "0 s",
    num_requests: int = 1,
    **settings: object,
) -> Scenario:
    """Users of a model who each send their next request after the last answer.

    Settings are dotted names with ``__`` for the dot: ``serving__block_size=4``.
    """
    workload = {
        "kind": "requests",
        "prompt_tokens": prompt,
        "output_tokens": output,
        "arrival": {"kind": "closed", "users": users, "think_time": think_time},
        "num_requests": num_requests,
    }
    return scenario_of(model, hardware, workload, **settings)


def scenario_of(model: str, hardware: str, workload: Mapping[str, Any], **settings: object) -> Scenario:
    """A scenario of this workload; settings as for closed_requests."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return load_scenario(
        "llama-8b-chat",
        {"model": model, "hardware": hardware, "run.warmup": "none", "slo": {}, "workload": dict(workload)} | dotted,
    )
