"""Residency settings that could not do what their names promise are refused, with what would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.scenario import load_scenario

SAMPLES = Path(__file__).parent / "traces"


def refusal(name: str, **overrides: object) -> str:
    with pytest.raises(SpecError) as caught:
        load_scenario(name, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value)


def agentic(**settings: object) -> dict[str, object]:
    trace = {"kind": "trace", "trace": str(SAMPLES / "agentic.csv"), "format": "agentic"}
    return {"workload": trace | settings}


@pytest.mark.parametrize("policy", ["keep", "cheapest", "clairvoyant"])
def test_replicas_that_share_a_queue_hold_no_sessions(policy: str) -> None:
    message = refusal("yi-34b-50k-a100", deployment__router="central_queue", serving__residency=policy)
    assert message == (
        f"--set serving.residency={policy}: serving.residency: expected another (replicas that take from one queue "
        f'give a session no home to hold its KV in), found "{policy}"; write swap or recompute, or deployment.router: '
        "session_affinity"
    )
    for other in ("swap", "recompute"):
        load_scenario("yi-34b-50k-a100", {"deployment.router": "central_queue", "serving.residency": other})


@pytest.mark.parametrize("policy", ["keep", "clairvoyant"])
def test_shared_prefixes_belong_to_no_session(policy: str) -> None:
    assert refusal("mooncake-replay", serving__residency=policy) == (
        f"--set serving.residency={policy}: serving.residency: expected another (prefixes of the format mooncake "
        f'belong to no session, so nobody knows when they end), found "{policy}"; write swap, recompute or cheapest'
    )
    for other in ("swap", "recompute", "cheapest"):
        load_scenario("mooncake-replay", {"serving.residency": other})


def test_nobody_foresees_a_recorded_pace() -> None:
    message = refusal("llama-8b-chat", serving__residency="clairvoyant", **agentic())
    assert message.endswith(
        "serving.residency: expected another (at the recorded pace nobody is told when a session asks again), found "
        '"clairvoyant"; write workload.pace: think_time'
    )
    paced = agentic(pace="think_time")
    load_scenario("llama-8b-chat", {"serving.residency": "clairvoyant"} | paced)
    load_scenario("llama-8b-chat", {"serving.residency": "keep"} | agentic())


def test_a_trace_without_sessions_has_no_pace_to_offer() -> None:
    azure = {"kind": "trace", "trace": str(SAMPLES / "agentic.csv"), "format": "azure"}
    message = refusal("llama-8b-chat", serving__residency="clairvoyant", workload=azure)
    assert message.endswith('found "clairvoyant"; write swap, recompute or cheapest')


def test_disk_lies_behind_host_memory() -> None:
    assert refusal("llama-8b-chat", serving__disk_kv_capacity="1 TiB") == (
        "--set serving.disk_kv_capacity=1 TiB: serving.disk_kv_capacity: expected 0 B without serving.host_kv_capacity "
        "(KV goes to disk by way of host memory), found 1.1 TB; set serving.host_kv_capacity too"
    )
    load_scenario("llama-8b-chat", {"serving.disk_kv_capacity": "1 TiB", "serving.host_kv_capacity": "1 GiB"})


@pytest.mark.parametrize(
    ("field", "most", "asked", "words"),
    [
        ("host_kv_capacity", "2048 GiB", "2049 GiB", "2.199 TB (the memory of a node of ddr4-3200-8ch), found 2.2 TB"),
        ("disk_kv_capacity", "30.72 TB", "31 TB", "30.72 TB (the drives of a node of ddr4-3200-8ch), found 31 TB"),
    ],
)
def test_no_more_room_than_a_node_has(field: str, most: str, asked: str, words: str) -> None:
    room = {"serving__host_kv_capacity": "1 GiB"} | {f"serving__{field}": asked}
    assert refusal("llama-8b-chat", **room) == (
        f"--set serving.{field}={asked}: serving.{field}: expected at most {words}; lower it, or name a host that has "
        "more"
    )
    load_scenario("llama-8b-chat", {"serving.host_kv_capacity": "1 GiB"} | {f"serving.{field}": most})


def test_all_of_it_is_said_at_once() -> None:
    message = refusal(
        "yi-34b-50k-a100", deployment__router="central_queue", serving__residency="keep",
        serving__host_kv_capacity="0 B", serving__disk_kv_capacity="40 TB",
    )  # fmt: skip
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "serving.disk_kv_capacity",
        "serving.disk_kv_capacity",
        "serving.residency",
    ]
