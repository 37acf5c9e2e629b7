"""A scenario served for real: model, memory and users put together."""

from __future__ import annotations

from math import inf
from typing import Any

import torch

from ctxsim.cost import CostModel
from ctxsim.errors import InfeasibleError
from ctxsim.measure.clock import Clock
from ctxsim.measure.devices import Device, device_of
from ctxsim.measure.engine import Progress, Server, Users
from ctxsim.measure.operands import DTYPES
from ctxsim.measure.served import Served
from ctxsim.measure.serving_kv import Room, ServedKv, engine_core, room_of
from ctxsim.measure.serving_rows import Tables
from ctxsim.measure.serving_support import check_served
from ctxsim.measure.stores import kv_store, token_bytes
from ctxsim.measure.swapping import copier_of, page_lock
from ctxsim.measure.transformer import Segment, Transformer
from ctxsim.spec.scenario import Scenario
from ctxsim.units import show
from ctxsim.workload import make_source

WARM_UP_PASSES = 3
"""Passes of each kind before the clock starts: libraries load kernels and reserve memory in the first of them."""


def serve(
    scenario: Scenario, device: str = "cuda", dtype: str | None = None, progress: Progress | None = None,
    skips_idle: bool = True,
) -> Served:  # fmt: skip
    """Serves the scenario's workload to the last request.

    device: cuda or cpu. dtype: of weights and KV, the scenario's where none is given; whatever bytes the scenario's
    have, room is the scenario's in tokens, and bytes in the tables are those that were there. progress: called with the
    number of finished requests. skips_idle: time in which nothing is computed or copied is not waited for, and counts
    as passed. On a CPU threads that compute yield to others meanwhile, and afterwards, too, where the process may not
    raise its priority.
    Raises SpecError for what the engine cannot do, InfeasibleError where the device has no room for it.
    """
    found = device_of(device)
    dtype = dtype or scenario.serving.weight_dtype
    check_served(scenario, device, dtype)
    cost = CostModel(scenario)
    room = room_of(scenario, cost, token_bytes(scenario.model, DTYPES[dtype]))
    _check_room(scenario, room, found, DTYPES[dtype].itemsize)
    model = Transformer(scenario.model, found.torch, DTYPES[dtype], scenario.max_model_len, scenario.run.seed)
    host_tokens = room.host_tokens + room.transit_tokens
    stores = kv_store(model, room.device_tokens, found.torch), kv_store(model, host_tokens, torch.device("cpu"))
    if found.kind == "cuda":
        page_lock(stores[1])
    _warm_up(model, stores[0], scenario)
    clock, tables = Clock(skips_idle), Tables(len(cost.spans))
    core = engine_core(scenario, cost, room, clock.now_s)
    horizon_s = inf if scenario.run.horizon is None else scenario.run.horizon
    users = Users(make_source(scenario.workload, scenario.run.seed), horizon_s)
    server = Server(scenario, users, model, core, clock, tables, progress)
    with copier_of(found.torch, clock.now_s) as copier:
        kv = ServedKv(core, stores, copier, server.sequences.length, server.copied)
        server.run(kv)
    return Served(scenario, tables.named(), _meta(found, dtype, server, kv, skips_idle))


def _check_room(scenario: Scenario, room: Room, device: Device, itemsize: int) -> None:
    """Raises InfeasibleError where weights and the scenario's KV are more than the device has free."""
    weight_bytes = float(scenario.model.num_parameters * itemsize)
    host_tokens = room.host_tokens + room.transit_tokens
    kv_tokens = room.device_tokens + (host_tokens if device.kind == "cpu" else 0)
    kv_bytes, free_bytes = max(0, kv_tokens) * room.token_bytes, device.free_bytes()
    if room.device_tokens < scenario.serving.block_size or weight_bytes + kv_bytes > free_bytes:
        weights, kv, free = (show(amount, "bytes") for amount in (weight_bytes, kv_bytes, free_bytes))
        reason = f"weights need {weights} and the scenario's KV {kv}, {device.name} has {free} free"
        raise InfeasibleError(f"{reason}; set serving.num_gpu_blocks_override and host_kv_capacity to what fits")


def _warm_up(model: Transformer, store: torch.Tensor, scenario: Scenario) -> None:
    """Passes of the largest chunk and of one token, alone and after as much as there is room for."""
    longest = min(store.shape[1], scenario.max_model_len)
    chunk = min(scenario.serving.max_num_batched_tokens, longest)
    for _ in range(WARM_UP_PASSES):
        for past, new in ((0, chunk), (longest - chunk, chunk), (longest - 1, 1)):
            model.forward(store, [Segment(0, past, [0] * new)]).argmax(dim=-1).tolist()


def _meta(device: Device, dtype: str, server: Server, kv: ServedKv, skips_idle: bool) -> dict[str, Any]:
    """What made the tables, beside the scenario."""
    return device.meta() | {
        "dtype": dtype,
        "iterations": server.iterations,
        "rejected_requests": server.rejected,
        "skips_idle": skips_idle,
        "moved_within_device_tokens": kv.device.moved_tokens,
    }
