"""Every technique at its identity is no technique, to the bit: nothing is left out here, and there is no list to be on.

The identity is what its file says (``identity``). That the comparison can fail is checked as well: at its defaults each
technique changes something on one of the same subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from support.techniques import identity_of, subject_of

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.records import Records
from ctxsim.sim import simulate
from ctxsim.spec import catalog
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.techniques import apply_all, load_technique

BASE = "yi-34b-50k-a100"
ALL = catalog.names("technique")
FEW: Mapping[str, Any] = {
    "workload.users": 2,
    "workload.num_sessions": 3,
    "workload.document_tokens": 9000,
    "workload.rounds": 2,
    "workload.answer_tokens": 20,
    "workload.think_time": "1 s",
    "run.warmup": "none",
}
"""A run of six turns, longer than every window and budget by default."""

SUBJECTS: Mapping[str, Mapping[str, Any]] = {
    "whole prompts, a pool of one session": {
        "serving.max_num_batched_tokens": 16384,
        "serving.num_gpu_blocks_override": 600,
        "serving.host_kv_capacity": "0 B",
    },
    "nothing is kept": {"serving.enable_prefix_caching": False, "serving.residency": "recompute"},
}
"""Engines that do without: chunks, host memory, prefix caching. What techniques bring is still to be had."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "formats and kernels of its own": {
        "serving.kv_dtype": "fp8",
        "serving.weight_dtype": "int8",
        "serving.decode_attention": "lean_attention",
        "deployment.context_parallel": 2,
    },
    "drafts of its own": {"serving.speculation": {"draft": {"layers": 9}, "draft_tokens": 2, "acceptance": 0.5}},
    "an exit of its own": {"serving.early_exit": {"depth_ratio": 0.75}},
    "small chunks of its own": {"serving.max_num_batched_tokens": 300},
    "measured times": {"fidelity": "calibrated"},
}
"""Scenarios that have chosen already what some techniques set; identities contradict no choice."""


@cache
def scenario(name: str, *techniques: str) -> Scenario:
    settings = (SUBJECTS | SETTINGS)[name]
    return load_scenario(BASE, {"techniques": list(techniques)} | FEW | settings)


def analysed(scenario: Scenario) -> dict[str, str]:
    """Everything that analyze finds, every number in full: keys and rows of operations, course, bounds, warnings."""
    found = analyze(scenario)
    parts = ("session", "course", "gap", "bounds", "by_policy", "warnings")
    return {name: repr(value) for name, value in found.keys.items()} | {
        part: repr(getattr(found, part)) for part in parts
    }


def simulated(scenario: Scenario) -> dict[str, object]:
    """Everything that a simulation tells: the summary, and the bytes of each column of each table."""
    found = simulate(scenario)
    tables: Mapping[str, Records] = {
        "requests": found.requests,
        "sessions": found.sessions,
        "runs": found.runs,
        "transfers": found.transfers,
        "gaps": found.gaps,
    }
    columns = {f"{of}.{name}": table[name].tobytes() for of, table in tables.items() for name in table.names}
    return columns | {name: repr(value) for name, value in found.summary.items()}


@cache
def numbers(name: str, *techniques: str) -> Mapping[str, object]:
    """All numbers of both; of what does not fit, of analyze alone."""
    found = scenario(name, *techniques)
    answer: Mapping[str, object] = analysed(found)
    return dict(answer) | (simulated(found) if analyze(found).feasible else {})


@pytest.mark.parametrize("name", ALL)
def test_an_identity_is_no_technique_to_the_bit(name: str) -> None:
    for subject in SUBJECTS:
        plain, same = scenario(subject), scenario(subject, identity_of(name))
        assert (same, same.sha256, same.applied) == (plain, plain.sha256, ())
        assert CostModel(same).operations == CostModel(plain).operations
        assert numbers(subject, identity_of(name)) == numbers(subject)


@pytest.mark.parametrize("name", ALL)
def test_by_default_it_changes_numbers_there(name: str) -> None:
    assert any(numbers(subject, name) != numbers(subject) for subject in SUBJECTS)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ALL)
def test_an_identity_leaves_what_a_scenario_chose(name: str, settings: str) -> None:
    plain, same = scenario(settings), scenario(settings, identity_of(name))
    assert (same, same.sha256) == (plain, plain.sha256)


@pytest.mark.parametrize("model", catalog.names("model"))
def test_an_identity_is_nothing_on_every_model(model: str) -> None:
    """Those too on which the technique itself is refused: what changes nothing has nothing to be refused for."""
    before = subject_of(model)
    for name in ALL:
        assert apply_all([load_technique(identity_of(name))], before).subject == before, name


def test_an_identity_is_nothing_beside_every_other_technique() -> None:
    """Of all pairs: whatever one changes, the other at its identity leaves, and contradicts nothing."""
    plain = subject_of("yi-34b-200k")
    loaded = {name: load_technique(name) for name in ALL}
    identities = {name: load_technique(identity_of(name)) for name in ALL}
    for name, technique in loaded.items():
        alone = apply_all([technique], plain)
        for other in ALL:
            if other != name:
                both = apply_all([technique, identities[other]], plain)
                assert (both.subject, both.applied) == (alone.subject, alone.applied), (name, other)
