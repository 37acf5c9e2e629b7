"""Numbers of a scenario that can be made larger or smaller one at a time, all else equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ctxsim.explore.load import load_of, with_load
from ctxsim.spec.domains import Domains
from ctxsim.spec.lengths import AnyLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions, Trace


@dataclass(frozen=True)
class Factor:
    """A number. scaled: the scenario with it multiplied; size: the number itself, so that rounding can be seen."""

    scaled: Callable[[Scenario, float], Scenario]
    size: Callable[[Scenario], float]


def _hardware(*names: str) -> Factor:
    """Rates or sizes of the machine that go together; the first is the number."""

    def scaled(scenario: Scenario, factor: float) -> Scenario:
        found = {name: getattr(scenario.hardware, name) for name in names}
        changed: dict[str, Any] = {name: value * factor for name, value in found.items() if value is not None}
        return replace(scenario, hardware=replace(scenario.hardware, **changed))

    return Factor(scaled, lambda scenario: getattr(scenario.hardware, names[0]))


def _flop_per_s(scenario: Scenario, factor: float) -> Scenario:
    peaks = tuple((dtype, rate * factor) for dtype, rate in scenario.hardware.peaks_flop_per_s)
    return replace(scenario, hardware=replace(scenario.hardware, peaks_flop_per_s=peaks))


def _price(name: str) -> Factor:
    def scaled(scenario: Scenario, factor: float) -> Scenario:
        changed: dict[str, Any] = {name: getattr(scenario.price, name) * factor}
        return replace(scenario, price=replace(scenario.price, **changed))

    return Factor(scaled, lambda scenario: getattr(scenario.price, name))


def _room(name: str) -> Factor:
    """Host memory or disk for KV."""

    def scaled(scenario: Scenario, factor: float) -> Scenario:
        update = {name: getattr(scenario.serving, name) * factor}
        return replace(scenario, serving=scenario.serving.model_copy(update=update))

    return Factor(scaled, lambda scenario: getattr(scenario.serving, name))


def _tokens(name: str) -> Factor:
    def scaled(scenario: Scenario, factor: float) -> Scenario:
        update = {name: _length(getattr(scenario.workload, name), factor)}
        return replace(scenario, workload=scenario.workload.model_copy(update=update))

    return Factor(scaled, lambda scenario: getattr(scenario.workload, name).mean_tokens)


def _length(length: AnyLength, factor: float) -> AnyLength:
    """The length with everything that says how long it is multiplied; whole numbers stay whole, and above zero."""
    update: dict[str, Any] = {}
    for name in ("tokens", "mean", "p95", "min", "max"):
        value = getattr(length, name, None)
        if value is not None:
            update[name] = max(1, round(value * factor)) if isinstance(value, int) else value * factor
    return length.model_copy(update=update)


def _think_time(scenario: Scenario, factor: float) -> Scenario:
    workload = scenario.workload
    assert isinstance(workload, Sessions)
    think = workload.think_time
    update = {name: getattr(think, name) * factor for name in ("value", "mean", "p95") if hasattr(think, name)}
    return replace(scenario, workload=workload.model_copy(update={"think_time": think.model_copy(update=update)}))


def _think_time_s(scenario: Scenario) -> float:
    assert isinstance(scenario.workload, Sessions)
    return scenario.workload.think_time.mean_s


def _load(scenario: Scenario, factor: float) -> Scenario:
    return with_load(scenario, load_of(scenario) * factor)


HARDWARE: Mapping[str, Factor] = {
    "peak_flop_per_s": Factor(_flop_per_s, lambda scenario: scenario.hardware.peaks_flop_per_s[0][1]),
    "hbm_bytes": _hardware("hbm_bytes"),
    "hbm_bytes_per_s": _hardware("hbm_bytes_per_s"),
    "scale_up_bytes_per_s": _hardware("scale_up_bytes_per_s"),
    "scale_out_bytes_per_s": _hardware("scale_out_bytes_per_s"),
    "scale_out_latency_s": _hardware("scale_out_latency_s"),
    "host_link_bytes_per_s": _hardware("host_link_bytes_per_s", "host_link_effective_bytes_per_s"),
    "host_memory_bytes_per_s": _hardware("host_memory_bytes_per_s"),
    "nvme_bytes_per_s": _hardware("nvme_read_bytes_per_s", "nvme_write_bytes_per_s"),
    "host_kv_capacity_bytes": _room("host_kv_capacity"),
    "disk_kv_capacity_bytes": _room("disk_kv_capacity"),
    "accelerator_usd_per_s": _price("accelerator_usd_per_s"),
    "host_memory_usd_per_byte_s": _price("host_memory_usd_per_byte_s"),
    "disk_usd_per_byte_s": _price("disk_usd_per_byte_s"),
}
"""What one buys: rates, sizes and prices, those of the first group of replicas."""

_HOST = ("host_link_bytes_per_s", "host_memory_bytes_per_s", "host_kv_capacity_bytes", "host_memory_usd_per_byte_s")
_DISK = ("nvme_bytes_per_s", "disk_kv_capacity_bytes", "disk_usd_per_byte_s")

_LOAD = Factor(_load, load_of)

_SESSIONS: Mapping[str, Factor] = {
    "load": _LOAD,
    "document_tokens": _tokens("document_tokens"),
    "question_tokens": _tokens("question_tokens"),
    "answer_tokens": _tokens("answer_tokens"),
    "think_time_s": Factor(_think_time, _think_time_s),
}

_REQUESTS: Mapping[str, Factor] = {
    "load": _LOAD,
    "prompt_tokens": _tokens("prompt_tokens"),
    "output_tokens": _tokens("output_tokens"),
}


def factors_of(scenario: Scenario) -> dict[str, Factor]:
    """The numbers that the scenario has and uses, and that are not zero."""
    workload: Mapping[str, Factor] = {}
    if not isinstance(scenario.workload, Trace):
        workload = _SESSIONS if isinstance(scenario.workload, Sessions) else _REQUESTS
    absent = set()
    if scenario.deployment.ranks == 1 or scenario.hardware.scale_up_bytes_per_s is None:
        absent.add("scale_up_bytes_per_s")
    domains = Domains.of(scenario.deployment, scenario.hardware)
    if domains.of_group == 1:
        absent.add("scale_out_latency_s")
        if domains.of_context == 1:
            absent.add("scale_out_bytes_per_s")
    if not scenario.serving.disk_kv_capacity:
        absent |= {*_DISK}
        if not scenario.serving.host_kv_capacity:
            absent |= {*_HOST}
    factors = {name: factor for name, factor in {**HARDWARE, **workload}.items() if name not in absent}
    return {name: factor for name, factor in factors.items() if factor.size(scenario)}
