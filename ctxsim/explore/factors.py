"""Numbers of a scenario that can be made larger or smaller one at a time, all else equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ctxsim.explore.load import load_of, with_load
from ctxsim.spec.lengths import AnyLength, ConstantLength, UniformLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ConstantTime, Sessions, Trace

Factor = Callable[[Scenario, float], Scenario]
"""The scenario with its number multiplied."""


def _hardware(*names: str) -> Factor:
    def scaled(scenario: Scenario, factor: float) -> Scenario:
        found = {name: getattr(scenario.hardware, name) for name in names}
        changed: dict[str, Any] = {name: value * factor for name, value in found.items() if value is not None}
        return replace(scenario, hardware=replace(scenario.hardware, **changed))

    return scaled


def _flop_per_s(scenario: Scenario, factor: float) -> Scenario:
    peaks = tuple((dtype, rate * factor) for dtype, rate in scenario.hardware.peaks_flop_per_s)
    return replace(scenario, hardware=replace(scenario.hardware, peaks_flop_per_s=peaks))


def _price(name: str) -> Factor:
    def scaled(scenario: Scenario, factor: float) -> Scenario:
        changed: dict[str, Any] = {name: getattr(scenario.price, name) * factor}
        return replace(scenario, price=replace(scenario.price, **changed))

    return scaled


def _host_memory(scenario: Scenario, factor: float) -> Scenario:
    update = {"host_kv_capacity": scenario.serving.host_kv_capacity * factor}
    return replace(scenario, serving=scenario.serving.model_copy(update=update))


def _load(scenario: Scenario, factor: float) -> Scenario:
    return with_load(scenario, load_of(scenario) * factor)


def _tokens(name: str) -> Factor:
    def scaled(scenario: Scenario, factor: float) -> Scenario:
        workload = scenario.workload
        update = {name: _length(getattr(workload, name), factor)}
        return replace(scenario, workload=workload.model_copy(update=update))

    return scaled


def _length(length: AnyLength, factor: float) -> AnyLength:
    names = (
        ("tokens",)
        if isinstance(length, ConstantLength)
        else ("min", "max")
        if isinstance(length, UniformLength)
        else ("mean", "p95")
    )
    update: dict[str, Any] = {}
    for name in names:
        value = getattr(length, name, None)
        if value is not None:
            update[name] = max(1, round(value * factor)) if isinstance(value, int) else value * factor
    return length.model_copy(update=update)


def _think_time(scenario: Scenario, factor: float) -> Scenario:
    workload = scenario.workload
    assert isinstance(workload, Sessions)
    think = workload.think_time
    names = ("value",) if isinstance(think, ConstantTime) else ("mean", "p95")
    update = {name: getattr(think, name) * factor for name in names if hasattr(think, name)}
    return replace(scenario, workload=workload.model_copy(update={"think_time": think.model_copy(update=update)}))


HARDWARE: Mapping[str, Factor] = {
    "peak_flop_per_s": _flop_per_s,
    "hbm_bytes": _hardware("hbm_bytes"),
    "hbm_bytes_per_s": _hardware("hbm_bytes_per_s"),
    "scale_up_bytes_per_s": _hardware("scale_up_bytes_per_s"),
    "host_link_bytes_per_s": _hardware("host_link_bytes_per_s", "host_link_effective_bytes_per_s"),
    "host_memory_bytes_per_s": _hardware("host_memory_bytes_per_s"),
    "host_kv_capacity_bytes": _host_memory,
    "accelerator_usd_per_s": _price("accelerator_usd_per_s"),
    "host_memory_usd_per_byte_s": _price("host_memory_usd_per_byte_s"),
}
"""What one buys: rates, sizes and prices, those of the first group of replicas."""

_SESSIONS: Mapping[str, Factor] = {
    "load": _load,
    "document_tokens": _tokens("document_tokens"),
    "question_tokens": _tokens("question_tokens"),
    "answer_tokens": _tokens("answer_tokens"),
    "think_time_s": _think_time,
}

_REQUESTS: Mapping[str, Factor] = {
    "load": _load,
    "prompt_tokens": _tokens("prompt_tokens"),
    "output_tokens": _tokens("output_tokens"),
}


def factors_of(scenario: Scenario) -> dict[str, Factor]:
    """The numbers that the scenario has, and that are not zero."""
    if isinstance(scenario.workload, Trace):
        workload: Mapping[str, Factor] = {}
    else:
        workload = _SESSIONS if isinstance(scenario.workload, Sessions) else _REQUESTS
    absent = {
        "scale_up_bytes_per_s": scenario.deployment.tensor_parallel == 1,
        "host_kv_capacity_bytes": not scenario.serving.host_kv_capacity,
        "host_memory_usd_per_byte_s": not scenario.serving.host_kv_capacity,
    }
    return {name: factor for name, factor in {**HARDWARE, **workload}.items() if not absent.get(name)}
