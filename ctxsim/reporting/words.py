"""Sentences that several sections share: fleets, loads, limits and shares in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ctxsim.human import human
from ctxsim.reporting.names import LATENCY
from ctxsim.reporting.subject import Subject
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Slo
from ctxsim.units import show


def fleet_words(scenario: Scenario) -> str:
    """``2 replicas of 2 x h100-80gb-sxm``, every kind of replicas."""
    return listed(_group_words(group) for group in scenario.fleet)


def _group_words(group: Scenario) -> str:
    replicas = group.deployment.replicas
    return f"{replicas} {'replica' if replicas == 1 else 'replicas'} of {machine_words(group)}"


def machine_words(group: Scenario) -> str:
    """The accelerators of one replica: ``2 x h100-80gb-sxm``."""
    return f"{group.deployment.ranks} x {group.hardware.name}"


def listed(parts: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def limits_words(slo: Slo) -> str:
    """``TTFT p95 20 s and TPOT p95 100 ms``."""
    limits = {"ttft": slo.ttft, "tpot": slo.tpot}
    return listed(
        f"{LATENCY[name]} p{slo.percentile:g} {show(limit, 'seconds')}" for name, limit in limits.items() if limit
    )


def task_words(subject: Subject) -> str:
    """Who is served with what: ``20 users with documents of 50,000 tokens``."""
    tokens = f"{subject.analysis.session.document_tokens:,} tokens"
    what = "documents" if subject.analysis.session.rounds > 1 else "prompts"
    distributed = "" if _constant(subject.scenario) else " on average"
    return f"{subject.load_words} with {what} of {tokens}{distributed}"


def _constant(scenario: Scenario) -> bool:
    workload = scenario.workload
    length = getattr(workload, "document_tokens", None) or getattr(workload, "prompt_tokens", None)
    return getattr(length, "kind", None) == "constant"


def missed_words(names: Sequence[str], found: dict[str, float | None], slo: Slo) -> str:
    """``TTFT p95 is 24 s against a limit of 20 s``, for each of these limits."""
    limits = {"ttft": slo.ttft, "tpot": slo.tpot}
    return listed(
        f"{LATENCY[name]} p{slo.percentile:g} is {human('found_s', found[name])} against a limit of "
        f"{human('limit_s', limits[name])}{_in_mean(found[name], limits[name])}"
        for name in names
    )


def _in_mean(found_s: float | None, limit_s: float | None) -> str:
    """Said of what is missed although the percentile is within the limit."""
    within = found_s is not None and limit_s is not None and found_s <= limit_s
    return ", which its mean misses" if within else ""


def usd(amount: float | None) -> str:
    """An amount of money to four digits: ``0.0731 USD``."""
    return human("amount_usd", amount)
