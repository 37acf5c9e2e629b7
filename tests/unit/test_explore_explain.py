"""Why a session costs more than over another context: sums, limits, and the two simulations beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exploring import POISSON, small

from ctxsim.analysis.account import QUANTITY_OF, Used
from ctxsim.analysis.session_cost import CAUSES, total_of
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.errors import SpecError
from ctxsim.explore.explain import QUANTITIES, explain, meaning
from ctxsim.explore.explain_simulated import QUANTITY_OF as PART_OF
from ctxsim.explore.explain_simulated import _computing_s, bill_by_cause
from ctxsim.explore.explain_work import explain_work
from ctxsim.metrics.utilisation import GroupRuns, run_s
from ctxsim.sim import simulate
from ctxsim.spec import catalog
from ctxsim.spec.scenario import load_scenario

SHIPPED = catalog.names("scenario")


@pytest.mark.parametrize("against", [4_000, 1_000_000])
@pytest.mark.parametrize("name", SHIPPED)
def test_everything_sums_to_the_total(name, against):
    found = explain(load_scenario(name), against)
    extra, scale = found.extra, found.base.total.usd + found.against.total.usd
    by_rows = {unit: sum(row[f"extra_{unit}"] for row in found.rows) for unit in ("usd", "s")}
    assert by_rows["usd"] == pytest.approx(extra.usd, rel=1e-9, abs=1e-12 * scale)
    assert by_rows["s"] == pytest.approx(extra.seconds, rel=1e-9)
    assert sum(found.extra_by(one).usd for one in QUANTITIES) == pytest.approx(extra.usd, rel=1e-9, abs=1e-12 * scale)
    causes = [found.base.by_cause(one) - found.against.by_cause(one) for one in CAUSES]
    assert total_of(causes).seconds == pytest.approx(extra.seconds, rel=1e-9)
    # The limit has everything but KV bytes, and never costs more than the session itself.
    assert found.extra_without_kv.seconds == pytest.approx(extra.seconds - causes[0].seconds, rel=1e-9)
    for session in (found.base, found.against):
        assert 0 < session.without_kv.seconds <= session.total.seconds * (1 + 1e-12)
        assert session.without_kv.usd <= session.total.usd * (1 + 1e-12)
    if extra.seconds:
        assert sum(found.cause_ratio(cause) for cause in CAUSES) == pytest.approx(1.0)
    assert {row["item"] for row in found.rows} == set(QUANTITY_OF)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_session_against_itself_costs_nothing_more(name):
    scenario = load_scenario(name)
    found = explain(scenario, explain(scenario, 4_000).base_tokens)
    assert all(row["extra_usd"] == 0 and row["extra_s"] == 0 for row in found.rows)
    assert found.extra == Used()
    assert found.cause_ratio("kv_bytes") is None
    assert "costs the same" in found.finding


def test_longer_contexts_cost_more_and_turn_from_kv_bytes_to_pairs():
    scenario = load_scenario("paper-34b-50k")
    shares = []
    for tokens in (50_000, 100_000, 1_000_000):
        found = explain(load_scenario("paper-34b-50k", {"workload.document_tokens": tokens,
                                                        "serving.max_model_len": 1_100_000}), 4_000)  # fmt: skip
        assert found.extra.usd > 0
        shares.append((found.cause_ratio("kv_bytes"), found.cause_ratio("quadratic_flop")))
    kv, quadratic = zip(*shares, strict=True)
    assert list(kv) == sorted(kv, reverse=True)
    assert list(quadratic) == sorted(quadratic)
    assert kv[0] > 0.5 > quadratic[0]
    assert quadratic[-1] > 0.5 > kv[-1]
    # The other way round nothing changes but the sign.
    there, back = explain(scenario, 4_000), explain(load_scenario("paper-34b-4k"), 50_000)
    assert back.extra.usd == pytest.approx(-there.extra.usd, rel=1e-12)
    assert back.cause_ratio("kv_bytes") == pytest.approx(there.cause_ratio("kv_bytes"), rel=1e-9)
    assert back.kv_last_ratio == pytest.approx(there.kv_last_ratio, rel=1e-9)
    assert "less at 4,000 tokens" in back.finding
    # Of the sentence's numbers, the limit without KV bytes is all but their part.
    assert f" ({100 * (1 - there.cause_ratio('kv_bytes')):.1f} %) would stay" in there.finding
    assert " USD more at 50,000 tokens than at 4,000" in there.finding


def test_warnings_say_what_the_numbers_are():
    assert any("shorter than 4,000" in one for one in explain(load_scenario("llama-8b-chat"), 4_000).warnings)
    assert any("more than max_model_len (200,000)" in one
               for one in explain(load_scenario("yi-34b-50k-a100"), 1_000_000).warnings)  # fmt: skip
    misfit = explain(load_scenario("paper-34b-100k"), 4_000)
    assert "at least" in misfit.infeasible_reason
    assert any("priced as if" in one for one in misfit.warnings)
    assert any("calibration" in one for one in explain(load_scenario("cpu-small"), 4_000).warnings)
    assert explain(load_scenario("paper-34b-50k"), 4_000).warnings == ()
    # Neither is said where it just does not hold: the same context, and as long a one as is served.
    assert explain(load_scenario("paper-34b-50k"), 50_000).warnings == ()
    longest = load_scenario("yi-34b-50k-a100").max_model_len
    assert not any("max_model_len" in one for one in explain(load_scenario("yi-34b-50k-a100"), longest).warnings)


def test_without_prices_shares_are_of_seconds():
    found = explain(load_scenario("cpu-small"), 500)
    assert found.unit == "seconds"
    assert "s of a replica more" in found.finding
    assert explain(load_scenario("paper-34b-50k"), 500).unit == "usd"


def test_what_the_context_is():
    names = ("paper-34b-50k", "llama-8b-chat", "mooncake-replay")
    assert [meaning(load_scenario(name)).split()[1] for name in names] == ["document", "prompt", "mean"]
    trace = explain(load_scenario("mooncake-replay"), 1_000)
    session, other = trace.base.session, trace.against.session
    assert other.found_tokens == session.found_tokens * 1_000 // session.document_tokens > 0


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("paper-34b-50k", {}),
        ("yi-34b-50k-a100", {}),
        ("mooncake-replay", {}),
        # Windows that are full grow no more.
        ("yi-34b-50k-a100", {"model": "gemma-3-27b", "serving.max_model_len": 100_000}),
    ],
)
def test_the_arithmetic_gives_what_the_table_has(name, overrides):
    lines = explain_work(explain(load_scenario(name, overrides), 4_000))
    checked = [line for line in lines if "(table: " in line]
    assert len(checked) == 4
    for line in checked:
        worked_out, table = line.rsplit(" = ", 1)[1].removesuffix(" s)").split(" s (table: ")
        assert float(worked_out) == pytest.approx(float(table), rel=1e-4)
    assert lines[-1].startswith("extra = ")
    mixed = explain_work(explain(load_scenario("llama-70b-mixed-fleet"), 4_000))
    assert not any("(table: " in line for line in mixed)


@pytest.mark.parametrize("overrides", [{}, POISSON, {"deployment.replicas": 2}])
def test_simulated_bills_sum_to_themselves(tmp_path, overrides):
    scenario = small(tmp_path, overrides)
    found = explain(scenario, 1_000, simulated=True).simulated
    money = simulate(scenario).summary["money"]["per_session_usd"]
    against, base = found.total_usd
    assert base == pytest.approx(money["total"], rel=1e-9)
    assert {row["item"] for row in found.rows} == set(PART_OF)
    assert sum(row["extra_usd"] for row in found.rows) == pytest.approx(base - against, rel=1e-9)
    by_part = {part: sum(row["base_usd"] for row in found.rows if row["item"] == part) for part in PART_OF}
    assert by_part == pytest.approx({part: money[part] for part in PART_OF}, rel=1e-9)
    if "workload" not in overrides:
        assert money["prefill"] > 0


def test_simulated_causes_of_prompts_alone_are_those_of_the_closed_form(tmp_path):
    """One request at a time, nothing beside it: prompts as the closed form has them, weights read for one sequence."""
    alone = {**POISSON["workload"], "arrival": {"kind": "closed", "users": 1}}
    scenario = small(tmp_path, {"workload": alone, "serving.max_num_seqs": 1})
    bill = bill_by_cause(simulate(scenario))
    cells = explain(scenario, 1_000).base.cells
    for part, item in (("prefill", "prompts"), ("decode", "answers")):
        for cause in CAUSES:
            assert bill[part, cause] == pytest.approx(cells[item, cause].usd, rel=1e-6, abs=1e-12)


MIXED = {
    "deployment.replicas": 2, "deployment.groups": [{"hardware": "h100-80gb-sxm"}], "workload.users": 30,
    "serving.num_gpu_blocks_override": 1_100, "serving.residency": "swap",
}  # fmt: skip
"""Two replicas on A100 and one on H100, with room for four sessions each, so that they swap."""


def test_what_causes_have_of_computing_is_what_runs_lasted_without_copies(tmp_path):
    simulation = simulate(small(tmp_path, MIXED))
    assert sum(float(np.sum(part["slowed_s"])) for part in simulation.runs.parts()) > 0.01
    for group, first, replicas in zip(simulation.scenario.fleet, (0, 2), (2, 1), strict=True):
        runs = GroupRuns(simulation.runs, first, replicas)
        lasted_s = sum(float(np.sum(run_s(part) - part["slowed_s"])) for part in runs.parts())
        assert float(_computing_s(CostModel(group), runs).sum()) == pytest.approx(lasted_s, rel=1e-9)


@pytest.mark.parametrize("free", [(), (0,), (1,), (0, 1)])
def test_unlike_replicas_are_in_a_bill_at_their_prices(tmp_path, free):
    """One that costs nothing causes no part of a bill, however long it computes; where none has a price, all do."""
    simulation = simulate(small(tmp_path, MIXED))
    fleet = [
        replace(group, price=replace(group.price, accelerator_usd_per_s=0.0)) if place in free else group
        for place, group in enumerate(simulation.scenario.fleet)
    ]
    priced = replace(simulation, scenario=replace(fleet[0], others=(replace(simulation.scenario.others[0],
                     price=fleet[1].price),)))  # fmt: skip
    paid = [replica_usd_per_s(group) for group in fleet] if len(free) < 2 else [1.0, 1.0]
    seconds = [
        _computing_s(CostModel(group), GroupRuns(simulation.runs, first, replicas))
        for group, first, replicas in zip(fleet, (0, 2), (2, 1), strict=True)
    ]
    usd = paid[0] * seconds[0] + paid[1] * seconds[1]
    bill, parts = bill_by_cause(priced), simulation.summary["money"]["per_session_usd"]
    for row, part in enumerate(("prefill", "decode")):
        found = [bill[part, cause] / parts[part] for cause in CAUSES]
        assert found == pytest.approx((usd[row] / usd[row].sum()).tolist(), rel=1e-9)


def test_a_trace_is_not_simulated():
    with pytest.raises(SpecError, match="expected lengths that can be scaled, found a recorded trace"):
        explain(load_scenario("mooncake-replay"), 4_000, simulated=True)


def test_a_simulation_without_a_completed_session_has_no_bill(tmp_path):
    with pytest.raises(SpecError, match="expected sessions that are completed within the horizon"):
        explain(small(tmp_path, {"run.horizon": "100 ms"}), 1_000, simulated=True)
