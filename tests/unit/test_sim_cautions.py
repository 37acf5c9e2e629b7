"""Warnings of tiers that thrash or are not there: exactly when they are due, and of what."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.sim.cautions import residency_warnings
from ctxsim.sim.cluster import Cluster
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.serving import Residency

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import asked_again as asked

BASE = load_scenario("llama-8b-chat")
GB = 10**9


def scenario(residency: str = "swap", host_bytes: float = 0.0) -> Scenario:
    serving = BASE.serving.model_copy(update={"residency": residency, "host_kv_capacity": host_bytes})
    return replace(BASE, serving=serving)


def warnings(of: Scenario, lost_bytes: tuple[float, ...] = (0.0,), swapped_out_bytes: float = 0.0) -> list[str]:
    """What a reader is told of replicas that lost so much each, of so much that all have swapped out."""
    stations = [
        SimpleNamespace(
            core=SimpleNamespace(
                cache=SimpleNamespace(holdings=SimpleNamespace(stores=SimpleNamespace(lost_bytes=lost)))
            )
        )
        for lost in lost_bytes
    ]
    cluster = cast(Cluster, SimpleNamespace(stations=stations))
    return list(residency_warnings(of, cluster, {"swap_out_bytes": swapped_out_bytes}))


# No host memory


@pytest.mark.parametrize("host_bytes", [0.0, 1.0])
@pytest.mark.parametrize("residency", get_args(Residency))
def test_a_policy_that_swaps_must_have_somewhere_to_swap_to(residency: str, host_bytes: float) -> None:
    found = warnings(scenario(residency, host_bytes))
    if residency in ("swap", "cheapest", "clairvoyant") and not host_bytes:
        (said,) = found
        assert said.startswith(f"serving.residency: {residency} has no host memory to swap to")
        assert "(serving.host_kv_capacity is 0 B)" in said
    else:
        assert found == []


@pytest.mark.parametrize(("residency", "host", "due"), [("swap", "0 B", True), ("swap", "1 GiB", False),
                                                        ("recompute", "0 B", False)])  # fmt: skip
def test_a_simulation_says_so_too(residency: str, host: str, due: bool) -> None:
    settings = {"serving.residency": residency, "serving.host_kv_capacity": host, "workload.num_requests": 5}
    found = simulate(load_scenario("llama-8b-chat", settings)).warnings
    assert any("has no host memory to swap to" in said for said in found) == due


# Thrashing


@pytest.mark.parametrize(
    ("lost_bytes", "swapped_out_bytes", "due"),
    [
        ((0.0,), 0.0, False),
        ((0.0,), 10.0 * GB, False),
        ((5.0 * GB,), 10.0 * GB, False),  # just half
        ((5.0 * GB + 1,), 10.0 * GB, True),
        ((3.0 * GB, 2.0 * GB), 10.0 * GB, False),  # of all replicas together
        ((3.0 * GB, 3.0 * GB), 10.0 * GB, True),
        ((10.0 * GB, 0.0), 10.0 * GB, True),
    ],
)
def test_a_tier_thrashes_that_gives_up_more_than_half_of_what_it_gets(
    lost_bytes: tuple[float, ...], swapped_out_bytes: float, due: bool
) -> None:
    found = warnings(scenario(host_bytes=1.0 * GB), lost_bytes, swapped_out_bytes)
    assert len(found) == due
    assert all(said.startswith("the host tier thrashes: of 10 GB swapped out") for said in found)


def test_the_warning_says_how_much_was_given_up() -> None:
    (said,) = warnings(scenario(host_bytes=1.0 * GB), (4.0 * GB, 3.5 * GB), 10.0 * GB)
    assert "of 10 GB swapped out, 7.5 GB were given up again before anyone asked for them" in said
    assert said.endswith("larger than HBM and serving.host_kv_capacity together")


def asked_in_turn(documents: int, hbm: int, host: int, passes: int = 3, **serving: Any) -> tuple[list[str], Table]:
    """Warnings after documents are asked about one after the other, in the same order each time, and the requests."""
    of = asked.engine(hbm, host, "swap")
    of = replace(of, serving=of.serving.model_copy(update=serving))
    requests, cluster = asked.ask(of, asked.in_turn(documents, passes, gap_s=60.0))
    table = cluster.journal.transfers.table()
    out = (table["source"] == 0) & (table["target"] == 1)
    return list(residency_warnings(of, cluster, {"swap_out_bytes": table["moved_bytes"][out].sum()})), requests


@pytest.mark.parametrize(("host", "due"), [(2, True), (3, True), (4, False), (8, False)])
def test_documents_asked_in_turn_thrash_where_not_all_fit(host: int, due: bool) -> None:
    """Six of them, room for two in HBM: least recently used, the one asked for next is always the one given up."""
    found, requests = asked_in_turn(documents=6, hbm=2, host=host)
    hits = int((requests["host_hit_tokens"] > 0).sum())
    assert hits == (0 if due else 2 * 6)
    assert len(found) == due


def test_what_goes_on_to_disk_is_not_given_up() -> None:
    found, requests = asked_in_turn(documents=6, hbm=2, host=2, disk_kv_capacity=10.0 * asked.DOCUMENT_BYTES)
    assert (requests["disk_hit_tokens"] > 0).sum() == 2 * 6
    assert found == []
