"""What-if: the same draws on both sides, differences with their intervals, and why."""

from __future__ import annotations

import pytest
from exploring import POISSON, document, small

from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.explore import Trial, whatif
from ctxsim.explore.whatif import _paired, changed_scenarios
from ctxsim.sim.replications import replication_seeds, reseeded


def test_paired_differences_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, t(0.95, 2) = 4.30265 (Student 1908), half-width 4.30265 / sqrt 3.
    found = _paired([10.0, 20.0, 30.0], [11.0, 22.0, 33.0])
    assert (found.base, found.changed, found.difference) == (20.0, 22.0, 2.0)
    assert found.half_width == pytest.approx(4.302652729911275 / 3**0.5)
    assert found.ratio == pytest.approx(0.1)
    assert found.sure is False
    assert _paired([0.0, 0.0], [5.0, 5.0]).ratio is None
    assert _paired([1.0, 2.0], [3.0, 4.0]).sure is True
    assert _paired([1.0], [3.0]).half_width is None
    assert _paired([1.0], [3.0]).sure is None


def test_every_run_of_a_change_has_the_draws_of_the_base(tmp_path):
    base, changes = changed_scenarios(
        document(tmp_path, POISSON), ["serving.kv_dtype=fp8", "workload.output_tokens=60"]
    )
    found = whatif(base, changes, replications=3)
    assert [one.change for one in found] == list(changes)
    seeds = replication_seeds(base.run.seed, 3)
    rows = [[Trial(reseeded(scenario, seed)).run().row for seed in seeds] for scenario in (base, *changes.values())]
    for number, one in enumerate(found, 1):
        assert one.runs == 3
        difference = one.differences["e2e_mean_s"]
        each = [b["e2e_mean_s"] - a["e2e_mean_s"] for a, b in zip(rows[0], rows[number], strict=True)]
        assert difference.difference == pytest.approx(sum(each) / 3)
    longer = found[1].differences["e2e_mean_s"]
    assert longer.difference > 0
    assert longer.sure
    # Apart the runs scatter more than the pairs do: that is what the same draws are for.
    base_e2e = [row["e2e_mean_s"] for row in rows[0]]
    assert longer.half_width < max(base_e2e) - min(base_e2e)


def test_a_change_of_nothing_differs_by_nothing(tmp_path):
    base, changes = changed_scenarios(document(tmp_path, POISSON), ["serving.kv_dtype=bf16"])
    (one,) = whatif(base, changes, replications=2)
    assert all(found.difference == 0 == found.half_width for found in one.differences.values())
    assert one.why == f"none of the four quantities moves; what binds stays: {one.bottlenecks[0]}"


def test_where_nothing_is_drawn_one_run_says_it_all(tmp_path):
    base, changes = changed_scenarios(document(tmp_path), ["serving.kv_dtype=fp8"])
    (one,) = whatif(base, changes, replications=5)
    assert one.runs == 1
    assert one.differences["ttft_p95_s"].half_width is None
    assert "concurrency +100.0%" in one.why
    assert "context switch -50.0%" in one.why


def test_in_closed_form_nothing_is_simulated(tmp_path):
    base, changes = changed_scenarios(document(tmp_path), ["hardware=h100-80gb-sxm"])
    (one,) = whatif(base, changes, by="analyze")
    assert one.runs == 0
    assert one.differences["prefill_s"].difference < 0
    assert "sessions_per_hour" not in one.differences


def test_a_change_that_cannot_be_served_says_why(tmp_path):
    base, changes = changed_scenarios(document(tmp_path), ["serving.num_gpu_blocks_override=10", "workload.users=4"])
    found = whatif(base, changes)
    assert found[0].infeasible_reason
    assert not found[0].differences
    assert found[1].infeasible_reason is None


def test_a_base_that_cannot_be_served_is_infeasible(tmp_path):
    infeasible = {"serving.num_gpu_blocks_override": 10}
    base, changes = changed_scenarios(document(tmp_path, infeasible), ["workload.users=4"])
    with pytest.raises(InfeasibleError, match="the base, small"):
        whatif(base, changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["serving.kv_dtype=fp8", "serving.kv_dtype=fp8"], "each once"),
        ([], "found none"),
        (["serving.kv_dtype=fp9"], "expected one of"),
        (["serving.kv_dtype"], "expected KEY=VALUE"),
    ],
)
def test_wrong_changes_are_refused(tmp_path, changes, said):
    with pytest.raises(SpecError, match=said):
        changed_scenarios(document(tmp_path), changes)


def test_another_seed_is_no_change(tmp_path):
    base = small(tmp_path)
    with pytest.raises(SpecError, match="expected the same draws for base and change"):
        whatif(base, {"run.seed=9": small(tmp_path, {"run.seed": 9})})
