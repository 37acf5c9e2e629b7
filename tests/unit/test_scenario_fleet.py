"""Fleets of unlike replicas: how they are written, resolved, checked, digested, priced, bounded and simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenario_text import SCENARIO

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel, accelerators, fleet_usd_per_s, nodes
from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.metrics import work_done
from ctxsim.sim import simulate
from ctxsim.spec import catalog
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import Scenario, load_scenario, resolve_scenario

GROUPS = "[{replicas: 3, hardware: h100-80gb-sxm, tensor_parallel: 1}, {host: ddr5-4800-8ch, tensor_parallel: 4}]"


def fleet(groups: str = GROUPS, **overrides: object) -> Scenario:
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_scenario("llama-8b-chat", {"deployment.groups": groups} | dotted)


def test_every_group_is_a_scenario_of_its_own_machine_and_shares_the_rest() -> None:
    found = fleet(deployment__replicas=2, deployment__router="least_loaded")
    kinds = [
        (s.hardware.name, s.hardware.host_name, s.deployment.replicas, s.deployment.tensor_parallel)
        for s in found.fleet
    ]
    own_host = load_scenario("llama-8b-chat").hardware.host_name
    h100_host = load_scenario("llama-8b-chat", {"hardware": "h100-80gb-sxm"}).hardware.host_name
    assert kinds == [
        ("a100-80gb-sxm", own_host, 2, 1),
        ("h100-80gb-sxm", h100_host, 3, 1),
        ("a100-80gb-sxm", "ddr5-4800-8ch", 1, 4),
    ]
    for one in found.fleet:
        assert one.others == ()
        assert one.deployment.groups == ()
        assert one.deployment.router == "least_loaded"
        assert (one.serving, one.workload, one.model) == (found.serving, found.workload, found.model)
    assert load_scenario("llama-8b-chat").fleet == (load_scenario("llama-8b-chat"),)


def test_the_scenario_s_host_goes_with_its_own_hardware_only() -> None:
    found = fleet("[{hardware: h100-80gb-sxm}, {replicas: 2}]", host="grace")
    assert [s.hardware.host_name for s in found.fleet] == [
        "grace",
        load_scenario("llama-8b-chat", {"hardware": "h100-80gb-sxm"}).hardware.host_name,
        "grace",
    ]


def test_prices_are_each_machine_s_unless_the_scenario_has_one() -> None:
    a100, h100, _ = fleet().fleet
    assert a100.price.accelerator_usd_per_s < h100.price.accelerator_usd_per_s
    assert h100.price.accelerator_usd_per_s == h100.hardware.accelerator_usd_per_s
    same = fleet(price__accelerator="1 USD/hour").fleet
    assert {s.price.accelerator_usd_per_s for s in same} == {1 / 3600}


@pytest.mark.parametrize("overrides", [{}, {"price__accelerator": "1 USD/hour"}, {"host": "grace"}])
def test_a_fleet_written_out_loads_as_the_same(tmp_path: Path, overrides: dict[str, object]) -> None:
    found = fleet(**overrides)
    path = tmp_path / "elsewhere.yaml"
    path.write_text(found.to_yaml())
    again = load_scenario(path)
    assert again.sha256 == found.sha256
    assert again == found
    assert again.fleet == found.fleet


def test_the_digest_covers_every_group_and_no_place(tmp_path: Path) -> None:
    found = fleet("[{hardware: h100-80gb-sxm}]")
    others = ["[]", "[{hardware: h200-sxm}]", "[{hardware: h100-80gb-sxm, replicas: 2}]", "[{}]"]
    others.append("[{hardware: h100-80gb-sxm}, {hardware: h100-80gb-sxm}]")
    assert len({found.sha256} | {fleet(groups).sha256 for groups in others}) == 1 + len(others)
    profile = tmp_path / "mine.yaml"
    profile.write_text(catalog.find("hardware", "h100-80gb-sxm").read_text())
    assert fleet(f"[{{hardware: '{profile}'}}]").sha256 == found.sha256
    faster = replace(found.others[0], hardware=replace(found.others[0].hardware, hbm_bytes_per_s=1e13))
    assert replace(found, others=(faster,)).sha256 != found.sha256


def test_a_profile_of_a_group_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(catalog.find("hardware", "h200-sxm").read_text())
    text = SCENARIO.replace("{tensor_parallel: 2}", "{groups: [{hardware: ./mine.yaml}]}")
    (tmp_path / "s.yaml").write_text(text)
    assert load_scenario(tmp_path / "s.yaml").others[0].hardware.name == "h200-sxm"


def refusal(groups: str) -> str:
    text = SCENARIO.replace("{tensor_parallel: 2}", f"\n  tensor_parallel: 2\n  groups: {groups}")
    with pytest.raises(SpecError) as caught:
        resolve_scenario(parse_document(text, "s.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            "[{replicas: 1}, {tensor_parallel: 3}]",
            "s.yaml:6:45: deployment.groups[1].tensor_parallel: expected a divisor of the 32 attention heads of "
            "llama-3.1-8b, found 3; 1, 2, 4, 8, 16, 32 would do",
        ),
        (
            "[{hardware: l40s, tensor_parallel: 16}]",
            "s.yaml:6:46: deployment.groups[0].tensor_parallel: expected at most 8 (what the scale-up link of l40s "
            "joins; its profile has no scale_out to go further), found 16; lower it and add replicas",
        ),
        (
            "[{hardware: l40}]",
            "s.yaml:6:23: deployment.groups[0].hardware: expected the name of a hardware profile or a path to its "
            'file, found "l40"; did you mean "l40s"?',
        ),
        (
            "[{hardware: ./none.yaml}]",
            's.yaml:6:23: deployment.groups[0].hardware: expected a hardware file, found none at "none.yaml"; check '
            "the path",
        ),
        (
            "[{host: grce}]",
            's.yaml:6:19: deployment.groups[0].host: expected the name of a host or a path to its file, found "grce"; '
            'did you mean "grace"?',
        ),
        (
            "[{tensor_paralel: 2}]",
            "s.yaml:6:13: deployment.groups[0].tensor_paralel: expected a known key, found "
            '"tensor_paralel"; did you mean "tensor_parallel"?',
        ),
        ("[{replicas: 0}]", "s.yaml:6:23: deployment.groups[0].replicas: expected a number of at least 1, found 0"),
        ("3", "s.yaml:6:11: deployment.groups: expected a list, found 3"),
        ("[3]", "s.yaml:6:12: deployment.groups[0]: expected a mapping of keys to values, found 3"),
    ],
)
def test_a_fault_of_a_group_is_refused_at_its_place(groups: str, message: str) -> None:
    assert refusal(groups) == message


def test_room_is_checked_on_every_group_s_host() -> None:
    with pytest.raises(SpecError) as caught:
        fleet("[{host: grace}]", serving__host_kv_capacity="1.5 TiB")
    assert str(caught.value).endswith(
        "serving.host_kv_capacity: expected at most 960 GB (the memory of a node of grace), found 1.649 TB; "
        "lower it, or name a host that has more"
    )


def test_a_fleet_s_accelerators_nodes_and_bill_are_those_of_its_groups() -> None:
    found = fleet(deployment__replicas=9, serving__host_kv_capacity="1 GiB")
    assert accelerators(found) == 9 + 3 + 4
    assert nodes(found) == 2 + 1 + 1
    assert fleet_usd_per_s(found) == pytest.approx(sum(fleet_usd_per_s(s) for s in found.fleet), rel=1e-12)


SESSIONS = {
    "workload": {"kind": "sessions", "users": 1000, "document_tokens": 4_000, "question_tokens": 100,
                 "answer_tokens": 100, "rounds": 3, "think_time": "1 s", "num_sessions": 300},
    "serving.host_kv_capacity": "10 GiB", "deployment.router": "session_affinity",
}  # fmt: skip


def test_bounds_of_a_fleet_are_sums_but_for_its_users() -> None:
    whole = load_scenario("llama-8b-chat", SESSIONS | {"deployment.groups": GROUPS})
    found = {b.resource: b.sessions_per_s for b in analyze(whole).bounds}
    parts = [{b.resource: b.sessions_per_s for b in analyze(s).bounds} for s in whole.fleet]
    assert found.pop("users") == max(part.pop("users") for part in parts)
    assert found == pytest.approx({name: sum(part[name] for part in parts) for name in found}, rel=1e-12)
    assert analyze(whole).keys["prefill_s"] == analyze(whole.fleet[0]).keys["prefill_s"]
    assert "3 groups of replicas" in analyze(whole).warnings[-1]
    per_session = fleet_usd_per_s(whole) * 3600 / analyze(whole).keys["sessions_per_hour_bound"]
    assert analyze(whole).keys["cost_usd_per_session"] == pytest.approx(per_session, rel=1e-12)


def test_a_group_that_holds_no_session_makes_the_fleet_infeasible() -> None:
    small = load_scenario("yi-34b-50k-a100", {"deployment.groups": "[{hardware: h100-80gb-sxm}]"})
    keys = analyze(small).keys
    assert keys["feasible"] is False
    assert keys["infeasible_reason"].startswith("on 1 x h100-80gb-sxm, one session needs 12.29 GB of KV cache")
    none = load_scenario("yi-34b-50k-a100", {"deployment.groups": "[{hardware: a100-40gb-sxm}]"})
    with pytest.raises(InfeasibleError, match=r"use more accelerators \(deployment.groups\[0\].tensor_parallel\)"):
        simulate(none)


def test_every_replica_of_a_fleet_serves_at_its_own_speed() -> None:
    """A request alone on each: the simulated time is that of the closed form on its own machine."""
    requests = {"kind": "requests", "prompt_tokens": 2048, "output_tokens": 50, "num_requests": 3,
                "arrival": {"kind": "constant", "rate": "0.1 /s"}}  # fmt: skip
    whole = load_scenario("llama-8b-chat", {"deployment.groups": "[{hardware: h100-80gb-sxm}, {hardware: b200-sxm}]",
                                            "workload": requests, "run.warmup": "none"})  # fmt: skip
    found = simulate(whole)
    assert found.requests["replica"].tolist() == [0, 1, 2]
    alone = [analyze(s).keys["last_token_s"] for s in whole.fleet]
    assert found.requests["e2e_s"] == pytest.approx(np.array(alone), rel=1e-9)
    assert alone == sorted(alone, reverse=True)


def test_utilisation_of_a_fleet_weighs_every_replica_s_own_machine() -> None:
    whole = load_scenario("llama-8b-chat", SESSIONS | {"deployment.groups": "[{hardware: h100-80gb-sxm, replicas: 2}]"})
    found = simulate(whole)
    summary, runs = found.summary, found.runs
    flop_s = hbm_s = used = pools = 0.0
    for number, group in enumerate([whole.fleet[0], whole.fleet[1], whole.fleet[1]]):
        cost, own = CostModel(group), _of(runs, number)
        flop, moved_bytes = work_done(cost, own)
        flop_s += flop / cost.rates.plain_flop_per_s
        hbm_s += moved_bytes / cost.rates.hbm_bytes_per_s
        n = own["iterations"]
        lasted_s = n * own["first_s"] + own["growth_s"] * n * (n - 1) / 2
        used += float(np.sum(lasted_s * (own["kv_start_bytes"] + own["kv_end_bytes"]) / 2))
        pools += cost.memory.kv_capacity_bytes
    elapsed_s = 3 * summary["duration_s"]
    assert summary["mfu_ratio"] == pytest.approx(flop_s / elapsed_s, rel=1e-9)
    assert summary["mbu_ratio"] == pytest.approx(hbm_s / elapsed_s, rel=1e-9)
    assert summary["kv_used_ratio"]["mean"] == pytest.approx(used / (pools * summary["duration_s"]), rel=1e-9)
    assert summary["gpu_hours"] == pytest.approx(elapsed_s / 3600, rel=1e-12)


def test_copies_carry_the_number_of_their_replica_in_the_fleet() -> None:
    """Pools of two sessions on three replicas of two kinds: all of them swap, and each row names the one that did."""
    settings = {"deployment.groups": "[{hardware: h100-80gb-sxm, replicas: 2}]", "serving.num_gpu_blocks_override": 620}
    found = simulate(load_scenario("llama-8b-chat", SESSIONS | settings))
    assert set(found.transfers["replica"].tolist()) == {0, 1, 2}
    home = dict(zip(found.requests["session"].tolist(), found.requests["replica"].tolist(), strict=True))
    moved = zip(found.transfers["session"].tolist(), found.transfers["replica"].tolist(), strict=True)
    assert all(home[session] == replica for session, replica in moved)


def _of(runs, replica):  # type: ignore[no-untyped-def]
    from ctxsim.records import Table

    mine = runs.column("replica") == replica
    return Table({name: runs.column(name)[mine] for name in runs.names})
