"""Settings of engines that are amounts of memory, as the scenario has them: always by way of bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ctxsim.cost.memory import replica_memory
from ctxsim.geometry import KvLayout
from ctxsim.interop.flags import Later, Value
from ctxsim.interop.values import replicas_on_node
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.scenario import Scenario
from ctxsim.units import exact, parse

LARGE_GRAPHS_FROM = 4
"""The tensor-parallel degree from which SGLang captures graphs of larger batches."""

LEAST_SHARE = 1 / 1000

GRAPH_BATCHES = (("160 GiB", 512, 512), ("60 GiB", 256, 512), ("35 GiB", 32, 160), ("20 GiB", 48, 160), ("0 B", 8, 8))
"""SGLang 0.5.23, arg_groups/memory_hook.py: memory from which, largest batch of its decode graphs, the same from
``LARGE_GRAPHS_FROM`` ranks on."""


def static_fraction(hardware: Hardware, tensor_parallel: int, chunk_tokens: int) -> float:
    """The share of memory that SGLang takes for weights and KV where --mem-fraction-static is not given.

    All but 512 MiB + 1.5 MiB a token of a chunk (2,048 at least) + 128 MiB a rank + 2 MiB a sequence of the largest
    decode graph, and all but 10 GiB at most where there are more than 60 GiB; to three digits. Source:
    arg_groups/memory_hook.py of SGLang 0.5.23, without what its prefill graphs and expert buffers reserve.
    """
    memory = hardware.hbm_bytes
    _, few, many = next(row for row in GRAPH_BATCHES if memory >= parse(row[0], "bytes"))
    sequences = many if tensor_parallel >= LARGE_GRAPHS_FROM else few
    mebibytes = 512 + 1.5 * max(chunk_tokens, 2048) + 128 * tensor_parallel + 2 * sequences
    reserved = parse(f"{mebibytes!r} MiB", "bytes")
    if memory > parse("60 GiB", "bytes"):
        reserved = max(reserved, parse("10 GiB", "bytes"))
    return round((memory - reserved) / memory, 3)


def static_share(scenario: Scenario) -> float:
    """Weights and KV of a replica over all of its memory, which is what SGLang's --mem-fraction-static says.

    To a thousandth, and at least that; 1 where a number of blocks that was given takes more than there is.
    """
    memory = replica_memory(scenario, _layout(scenario))
    share = float((memory.weight_bytes + memory.kv_capacity_bytes) / memory.hbm_bytes)
    return min(max(round(share, 3), LEAST_SHARE), 1.0)


def later_value(later: Later, amount: float, scenario: Scenario) -> tuple[str, Value]:
    """The field that the amount decides, and its value, given the scenario that the other flags make."""
    return LATER[later](amount, scenario)


def _blocks_of_bytes(amount: float, scenario: Scenario) -> tuple[str, Value]:
    blocks = amount * scenario.deployment.ranks / _layout(scenario).block_bytes
    return "serving.num_gpu_blocks_override", int(blocks)


def _blocks_of_tokens(amount: float, scenario: Scenario) -> tuple[str, Value]:
    return "serving.num_gpu_blocks_override", int(amount) // scenario.serving.block_size


def _host_of_pool(amount: float, scenario: Scenario) -> tuple[str, Value]:
    pool_bytes = max(replica_memory(scenario, _layout(scenario)).kv_capacity_bytes, 0.0)
    node_bytes = amount * pool_bytes * replicas_on_node(scenario.deployment)
    return "serving.host_kv_capacity", exact(node_bytes, "bytes")


def _layout(scenario: Scenario) -> KvLayout:
    serving = scenario.serving
    return KvLayout.of(scenario.model, serving.kv_dtype, scenario.deployment.tensor_parallel, serving.block_size)


def pool_tokens(scenario: Scenario) -> int | None:
    """The tokens of a number of blocks that was given, which is how SGLang's --max-total-tokens says it."""
    blocks = scenario.serving.num_gpu_blocks_override
    return None if blocks is None else blocks * scenario.serving.block_size


LATER: Mapping[Later, Callable[[float, Scenario], tuple[str, Value]]] = {
    "kv_bytes_per_accelerator": _blocks_of_bytes,
    "kv_tokens": _blocks_of_tokens,
    "kv_ratio": _host_of_pool,
}
