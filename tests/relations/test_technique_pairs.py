"""Every pair of techniques is priced, or refused with a reason that names one of them or the setting they quarrel over.

Beside the defaults of each file, settings in the middle of their ranges, at which layers of two kinds stand together.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.spec import catalog
from ctxsim.spec.scenario import Scenario, load_scenario

IN_PART = (
    "mqa(layer_ratio=0.5)",
    "gqa(layer_ratio=0.5)",
    "mla(layer_ratio=0.5)",
    "memoryformer(layer_ratio=0.5)",
    "yoco(cross_decoder_ratio=0.25)",
    "yoco(cross_decoder_ratio=0)",
    "yoco(window_tokens=1000000000)",
    "combiner(region_tokens=20000)",
    "chunked-prefill(max_num_batched_tokens=512)",
)
ALL = (*catalog.names("technique"), *IN_PART)
TOKENS = ((1, 40_000), (2048, 0), (2048, 40_000))


def bare(name: str) -> str:
    return name.partition("(")[0]


def priced(*techniques: str) -> Scenario | str:
    """The scenario with both, or why there is none."""
    try:
        return load_scenario("yi-34b-50k-a100", {"techniques": list(techniques), "serving.host_kv_capacity": "0 B"})
    except SpecError as error:
        return str(error)


def check(scenario: Scenario) -> None:
    """Each operation has a name of its own, takes time, and all together are the iteration's law."""
    cost = CostModel(scenario)
    names = [op.name for op in cost.operations]
    assert len(set(names)) == len(names), names
    for new, past in TOKENS:
        batch = cost.batch(new, past)
        found = cost.breakdown(batch)
        assert all(one.seconds >= 0 and one.flop >= 0 and one.hbm_bytes >= 0 for one in found)
        assert next(iter(cost.law(batch))).first_s == pytest.approx(sum(one.seconds for one in found), rel=1e-9)


def refuses(reason: str, one: str, other: str) -> bool:
    """Whether one of both is refused beside the other, or a setting that one of them made."""
    beside = [
        f'found "{a}' in reason and (f"{b} changes" in reason or f"beside {b})" in reason)
        for a, b in ((one, other), (other, one))
    ]
    settings = ("serving.early_exit", "serving.speculation", "serving.decode_attention", "deployment.context_parallel")
    return any(beside) or any(setting in reason and "expected" in reason for setting in settings)


@pytest.mark.parametrize("first", ALL)
def test_every_pair_is_priced_or_refused_by_name(first: str) -> None:
    assert isinstance(priced(first), Scenario), "alone"
    for one, other in combinations(ALL, 2):
        if one != first or bare(one) == bare(other):
            continue
        found = priced(one, other)
        if isinstance(found, Scenario):
            check(found)
        else:
            assert refuses(found, bare(one), bare(other)), found
