"""What is compared: machines at their prices, models with the weights that fit, and the nodes that a replica takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from shown import plain, table

from ctxsim.analysis.analyze import holds
from ctxsim.cost import CostModel
from ctxsim.explore.explain import Explanation, explain
from ctxsim.geometry import kv_bytes_per_token
from ctxsim.spec.scenario import load_scenario
from ctxsim.units import SECONDS_PER_HOUR, tokens
from maps.cells import BASE, CONTEXTS, LONG, NARROW, RANKS, SHORT, TURNS_TOKENS, Node, bold, by_model, spread
from maps.origin import explained, percent

GIGABYTE, TERA = 1e9, 1e12
MOST_ALONE = 16
"""Nodes up to which tensor parallelism alone is looked at: a rank a head of deepseek-v3."""

CALIBRATED_AT = "50k"


def machines(nodes: Sequence[Node]) -> str:
    """A row a machine, per accelerator."""
    header = [
        "machine", "profile", "USD/hour", "as of", "bf16, TFLOP/s", "HBM, GB", "HBM, TB/s", "NVLink, GB/s",
        "between nodes, GB/s", "host link, GB/s", "shared by",
    ]  # fmt: skip
    rows = []
    for node in {node.hardware: node for node in nodes}.values():
        found = node.scenario(SHORT).hardware
        rows.append(
            [
                node.machine, found.name, f"{found.accelerator_usd_per_s * SECONDS_PER_HOUR:.2f}", found.price_date,
                plain((found.peak_flop_per_s("bf16") or 0.0) / TERA), plain(found.hbm_bytes / GIGABYTE),
                plain(found.hbm_bytes_per_s / TERA), plain((found.scale_up_bytes_per_s or 0.0) / GIGABYTE),
                plain((found.scale_out_bytes_per_s or 0.0) / GIGABYTE),
                plain(found.host_link_bytes_per_s / GIGABYTE), found.host_link_shared_by,
            ]
        )  # fmt: skip
    return table(header, rows)


def models(nodes: Sequence[Node]) -> str:
    """A row a model: its context, its KV, and on each machine the format of weights and the longest context held."""
    names = list(dict.fromkeys(node.machine for node in nodes))
    rows = []
    for model in dict.fromkeys(node.model for node in nodes):
        mine = [node for node in nodes if node.model == model]
        made_for = mine[0].scenario(SHORT).model.max_context_tokens
        kv_bytes = kv_bytes_per_token(mine[0].scenario(SHORT).model, "bf16", RANKS)
        rows.append(
            [model, f"{made_for:,}", f"{kv_bytes:,.0f}", *(f"{node.weights}, {_longest(node)}" for node in mine)]
        )
    return table(["model", "made for, tokens", "KV, bytes/token", *names], rows)


def _longest(node: Node) -> str:
    """The longest context on one node."""
    return f"{node.most_tokens:,}" if node.most_tokens else "none"


def _larger(nodes: Sequence[Node]) -> Iterator[tuple[Node, list[str]]]:
    """Replicas of more than one node, and the contexts that each is for."""
    for node in nodes:
        cuts = {context: node.cut(tokens(context)) for context in CONTEXTS if node.nodes(context) > 1}
        for cut in dict.fromkeys(cuts.values()):
            yield node, [context for context in cuts if cuts[context] == cut]


@cache
def _unjoined_nodes(node: Node, context: str) -> int:
    """Nodes that hold the session by tensor parallelism alone."""
    for count in range(MOST_ALONE.bit_length()):
        alone = {"deployment.tensor_parallel": RANKS << count, "deployment.context_parallel": 1}
        cost = CostModel(load_scenario(BASE, {**node.settings(context), **alone}))
        if holds(cost, tokens(context) + TURNS_TOKENS):
            return 1 << count
    raise AssertionError(f"{node.name} holds no {context} on {MOST_ALONE} nodes")


def _sessions(node: Node, context: str) -> float:
    cost = CostModel(node.scenario(context))
    return float(cost.memory.kv_capacity_bytes / cost.layout.held_bytes(tokens(context) + TURNS_TOKENS))


def replicas(nodes: Sequence[Node]) -> str:
    """What has replicas of several nodes: how they are cut, and what of their HBM is taken by what."""
    rows = []
    for node, contexts in _larger(nodes):
        longest = contexts[-1]
        cost, (ranks, groups) = CostModel(node.scenario(longest)), node.cut(tokens(longest))
        memory, kv_bytes = cost.memory, cost.layout.held_bytes(tokens(longest) + TURNS_TOKENS)
        parts = (memory.weight_bytes, memory.activation_bytes + memory.reserve_bytes, kv_bytes, memory.usable_bytes)
        rows.append(
            [
                node.name, " to ".join(dict.fromkeys(one.upper() for one in (contexts[0], longest))),
                node.nodes(longest), f"{groups} x {ranks}", *(plain(part / GIGABYTE) for part in parts),
                plain(_sessions(node, longest)), _unjoined_nodes(node, longest),
            ]
        )  # fmt: skip
    header = [
        "replica", "sessions", "nodes", "groups x tensor parallel", "weights, GB", "activations, reserve",
        "KV of the longest", "usable", "such sessions", "nodes, tensor parallel alone",
    ]  # fmt: skip
    return table(header, rows)


def replica_findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence, where a replica takes several nodes."""
    larger = list(dict.fromkeys(node for node, _ in _larger(nodes)))
    if larger:
        told = [_grown(node) for node in larger]
        names = " and ".join(dict.fromkeys(node.model for node in larger))
        yield f"Only {names} takes more than a node, in {NARROW}: {', '.join(told)}."


def _grown(node: Node) -> str:
    """How many nodes hold what."""
    few, many = node.nodes(CONTEXTS[-2]), node.nodes(LONG)
    upto = CONTEXTS[-2].upper()
    alone = f" ({bold(str(_unjoined_nodes(node, LONG)))} by tensor parallelism alone)"
    return f"on {node.machine} {bold(str(few))} up to {upto} and {bold(str(many))} for {LONG.upper()}{alone}"


@cache
def _calibrated(node: Node) -> Explanation | None:
    """The session explained at calibrated times; None where the machine has none."""
    if node.scenario(SHORT).hardware.calibration is None:
        return None
    return explain(load_scenario(BASE, {**node.settings(CALIBRATED_AT), "fidelity": "calibrated"}), tokens(SHORT))


def _slower(node: Node, found: Explanation) -> float:
    return found.base.total.usd / explained(node, CALIBRATED_AT).base.total.usd


def calibrated(nodes: Sequence[Node]) -> str:
    """What a session costs at calibrated times over peak, and what KV bytes are then of its extra cost."""

    def told(node: Node, context: str) -> str:
        found = _calibrated(node)
        return "-" if found is None else f"{plain(_slower(node, found))}, {percent(found.cause_ratio('kv_bytes'))} %"

    return by_model(nodes, (CALIBRATED_AT,), told)


def calibrated_findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence."""
    known = {node: found for node in nodes if (found := _calibrated(node)) is not None}
    if known:
        ratios = spread(list(known), lambda node: _slower(node, known[node]))
        kv = spread(list(known), lambda node: known[node].cause_ratio("kv_bytes") or 0.0, percent, " %")
        yield (
            f"At calibrated times a session of {CALIBRATED_AT.upper()} costs {ratios} times what it costs at peak, and "
            f"KV bytes are {kv} of its extra over 4K: take dollars here as lower bounds."
        )
