"""Cost curves: contexts and stacks as they are written, points that fit and do not, margins and elasticities."""

from __future__ import annotations

import pytest
from exploring import document, small

from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import session_at, session_cost
from ctxsim.cost import CostModel
from ctxsim.errors import SpecError
from ctxsim.explore.cost_curve import NONE, cost_curve, findings, parse_contexts, parse_stacks, warnings_of
from ctxsim.explore.fitting import fitted, smallest, why_none
from ctxsim.spec.scenario import load_scenario, scenario_document


def test_contexts_as_they_are_written():
    assert parse_contexts("4k,1m,50k") == [4_000, 50_000, 1_000_000]
    assert parse_contexts("4096") == [4_096]
    assert parse_contexts("1,2") == [1, 2]
    assert parse_contexts("128Ki") == [131_072]
    assert parse_contexts("4k:12k:3") == [4_000, 8_000, 12_000]
    assert parse_contexts("log:4k:1m:9")[::8] == [4_000, 1_000_000]
    assert len(parse_contexts("log:4k:1m:9")) == 9


@pytest.mark.parametrize("text", ["", "4g", "4k,4k", "log:4k", "x", "0", "4k:1k:3", "4k,[1]", "1.5", "4k,0", "1,1.5"])
def test_contexts_that_are_none(text):
    with pytest.raises(SpecError, match="--contexts"):
        parse_contexts(text)


def test_stacks_as_they_are_written():
    stacks = parse_stacks("none, kv-int4,cla(layers_per_group=4, share=1)+kv-int4")
    assert stacks == [(), ("kv-int4",), ("cla(layers_per_group=4, share=1)", "kv-int4")]
    for text in ("a,,b", "a+", "a,a"):
        with pytest.raises(SpecError, match="expected stacks parted by commas"):
            parse_stacks(text)


def test_a_point_is_the_cost_of_a_session_over_its_context(tmp_path):
    scenario = small(tmp_path)
    points = cost_curve(document(tmp_path), [2_000, 4_000, 9_000])
    for point in points:
        cost = session_cost(scenario, session_at(typical_session(scenario), point.context_tokens))
        assert point.cost.total == cost.total
        row = point.row
        assert row["status"] == "ok"
        assert sum(row[f"{part}_usd"] for part in ("kv_bytes", "quadratic_flop", "rest")) == pytest.approx(
            row["cost_usd_per_session"]
        )
        assert sum(row[f"{part}_usd"] for part in ("concurrency", "prefill", "decode", "switching")) == pytest.approx(
            row["cost_usd_per_session"]
        )
    first, second, third = (point.cost.total.usd for point in points)
    assert points[0].marginal_usd is None
    margins = [point.marginal_usd for point in points[1:]]
    assert margins == pytest.approx([(second - first) / 2, (third - second) / 5], rel=1e-12)
    assert first < second < third


def test_elasticities_are_those_of_the_formula(tmp_path):
    """Prices: accelerators' and host memory's make all of the dollars. Rates: twice all of them, half the seconds."""
    (point,) = cost_curve(document(tmp_path), [4_000])
    slopes = point.elasticities
    host = point.cost.cells["held_in_host", "kv_bytes"].usd / point.cost.total.usd
    assert slopes["accelerator_usd_per_s"] == pytest.approx(1 - host, abs=2e-3)
    assert slopes["host_memory_usd_per_byte_s"] == pytest.approx(host, abs=2e-3)
    rates = ("peak_flop_per_s", "hbm_bytes_per_s", "host_link_bytes_per_s")
    assert sum(slopes[name] for name in rates) == pytest.approx(-(1 - host), abs=0.02)
    assert slopes["host_kv_capacity_bytes"] == 0.0
    assert slopes["hbm_bytes"] < 0
    assert [abs(slope) for _, slope in point.follows] == sorted((abs(s) for _, s in point.follows), reverse=True)
    assert not any("usd" in name for name, _ in point.follows)
    assert f"follows {point.follows[0][0]} most" in findings([point])[0]


def test_what_does_not_fit_has_a_reason_and_no_number():
    points = cost_curve(scenario_document("yi-34b-50k-a100"), [50_000, 1_000_000])
    assert [point.status for point in points] == ["ok", "infeasible"]
    assert points[1].cost is None
    assert "at least 4 accelerators" in points[1].reason
    assert points[1].row["cost_usd_per_session"] is None
    small_machine = cost_curve(scenario_document("yi-34b-50k-a100"), [50_000], ["rtx-4090"])
    assert small_machine[0].status == "infeasible"
    assert findings(small_machine) == ["rtx-4090: nothing that could be served"]


def test_machines_and_stacks_are_series():
    points = cost_curve(scenario_document("yi-34b-50k-a100"), [4_000, 50_000], ["a100-80gb-sxm", "h100-80gb-sxm"], [()])
    assert [(p.series.hardware, p.series.stack) for p in points[::2]] == [
        ("a100-80gb-sxm", NONE),
        ("h100-80gb-sxm", NONE),
    ]
    own = cost_curve(scenario_document("yi-34b-50k-a100"), [4_000, 50_000])
    assert [p.cost.total for p in own] == [p.cost.total for p in points[:2]]
    assert points[2].marginal_usd is None


def test_a_series_that_is_no_scenario_says_why():
    points = cost_curve(scenario_document("yi-34b-50k-a100"), [4_000], ["a100-80gb-sxm", "nope"])
    assert [point.status for point in points] == ["ok", "refused"]
    assert "expected the name of a hardware profile" in points[1].reason
    assert points[1].row["tensor_parallel"] is None
    with pytest.raises(SpecError, match="expected the name of a hardware profile"):
        cost_curve(scenario_document("yi-34b-50k-a100"), [4_000], ["nope"])
    with pytest.raises(SpecError, match="expected replicas of one kind, found 2 groups"):
        cost_curve(scenario_document("llama-70b-mixed-fleet"), [4_000])


def test_the_smallest_replica_that_holds_a_session():
    scenario = load_scenario("yi-34b-50k-a100")
    session = typical_session(scenario)
    found = {
        tokens: fitted(scenario, session_at(session, tokens)).deployment.tensor_parallel
        for tokens in (4_000, 50_000, 200_000, 1_000_000)
    }
    assert found == {4_000: 1, 50_000: 2, 200_000: 2, 1_000_000: 8}
    for tokens, ranks in found.items():
        if ranks > 1:
            smaller = load_scenario("yi-34b-50k-a100", {"deployment.tensor_parallel": ranks // 2})
            cost = CostModel(smaller)
            assert cost.memory.kv_capacity_bytes < cost.layout.held_bytes(tokens)
    points = cost_curve(scenario_document("yi-34b-50k-a100"), list(found), fit=True)
    assert [point.row["tensor_parallel"] for point in points] == list(found.values())
    beyond, grows = warnings_of(points)
    assert beyond.startswith("contexts above max_model_len (200,000 tokens)")
    assert grows.startswith("replicas grow along a series")
    assert list(warnings_of(cost_curve(scenario_document("yi-34b-50k-a100"), [4_000, 50_000]))) == []


def test_weights_are_fp8_where_wide_ones_do_not_fit():
    scenario = load_scenario("yi-34b-50k-a100", {"model": "llama-3.1-405b", "deployment.tensor_parallel": 8})
    session = session_at(typical_session(scenario), 4_000)
    chosen = fitted(scenario, session)
    assert (chosen.deployment.tensor_parallel, chosen.serving.weight_dtype) == (8, "fp8")
    large = session_at(session, 10_000_000)
    assert fitted(scenario, large) is None
    assert "llama-3.1-405b in bf16 or fp8 and one session of 10,000,000 tokens" in why_none(scenario, large)
    (point,) = cost_curve(scenario_document("yi-34b-50k-a100", {"model": "llama-3.1-405b"}), [10_000_000], fit=True)
    assert point.status == "infeasible"
    assert point.reason == why_none(scenario, large)


@pytest.mark.parametrize(
    ("hardware", "tokens", "ranks", "groups"),
    [
        ("h200-sxm", 128_000, 8, 1),
        ("h100-80gb-sxm", 128_000, 16, 1),
        ("h200-sxm", 1_000_000, 8, 2),  # latent rows lie on every rank: two groups hold more of them than one of 16
        ("h100-80gb-sxm", 1_000_000, 16, 4),  # no group of eight holds the weights; two of 16 lack 3.5 %
    ],
)
def test_replicas_grow_over_nodes(hardware, tokens, ranks, groups):
    overrides = {"model": "deepseek-v3", "hardware": hardware, "serving.max_model_len": 1_002_000}
    scenario = load_scenario("yi-34b-50k-a100", overrides)
    session = session_at(typical_session(scenario), tokens)
    chosen = fitted(scenario, session)
    deployment = chosen.deployment
    assert (deployment.tensor_parallel, deployment.context_parallel, chosen.serving.weight_dtype) == (
        ranks, groups, "fp8",
    )  # fmt: skip
    if ranks * groups > 8:
        halved, before = ("context_parallel", groups) if groups > 1 else ("tensor_parallel", ranks)
        fewer = {"serving.weight_dtype": "fp8", "deployment.tensor_parallel": ranks}
        half = {f"deployment.{halved}": before // 2}
        cost = CostModel(load_scenario("yi-34b-50k-a100", overrides | fewer | half))
        assert not cost.memory.weights_fit or cost.memory.kv_capacity_bytes < cost.layout.held_bytes(tokens)
    (point,) = cost_curve(scenario_document("yi-34b-50k-a100", overrides), [tokens], fit=True)
    shown = {name: point.row[name] for name in ("tensor_parallel", "context_parallel", "nodes")}
    assert shown == {"tensor_parallel": ranks, "context_parallel": groups, "nodes": ranks * groups // 8}


def test_replicas_grow_no_further_than_networks_are_known():
    scenario = load_scenario("yi-34b-50k-a100", {"model": "llama-3.1-405b", "hardware": "l40s",
                                                 "deployment.tensor_parallel": 1})  # fmt: skip
    session = session_at(typical_session(scenario), 4_000)
    assert fitted(scenario, session) is None
    assert "into a replica of at most 8 l40s" in why_none(scenario, session)
    known = load_scenario("yi-34b-50k-a100", {"model": "llama-3.1-405b"})
    assert "into a replica of at most 64 a100-80gb-sxm" in why_none(known, session)


def test_states_and_measured_times_are_not_divided():
    """Contexts of such replicas lie in one group: tensor parallelism alone."""
    for overrides in ({"model": "jamba-1.5-mini"}, {"model": "deepseek-v3", "fidelity": "calibrated"}):
        base = {"hardware": "a100-80gb-sxm", "serving.max_model_len": 1_002_000, "serving.weight_dtype": "fp8"}
        scenario = load_scenario("yi-34b-50k-a100", base | {"deployment.tensor_parallel": 8} | overrides)
        found = smallest(scenario, session_at(typical_session(scenario), 128_000), [16, 32])
        assert found is None or found.deployment.context_parallel == 1


def test_nodes_are_as_many_as_the_scale_up_link_joins():
    """72 GB200 share one link: replicas grow over nodes of eight."""
    scenario = load_scenario("yi-34b-50k-a100", {"hardware": "gb200", "model": "llama-3.1-405b",
                                                 "deployment.accelerators_per_node": 4})  # fmt: skip
    session = session_at(typical_session(scenario), 1_000_000)
    chosen = fitted(scenario, session)
    assert chosen.deployment.tensor_parallel == 8
    overrides = {"model": "llama-3.1-405b", "hardware": "gb200", "deployment.accelerators_per_node": 4}
    (point,) = cost_curve(scenario_document("yi-34b-50k-a100", overrides), [1_000_000], fit=True)
    assert point.row["nodes"] == 2
