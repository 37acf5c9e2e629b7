"""What is compared: machines at their prices, models with the weights that fit, and what does not fit by how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from shown import plain, table

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.explore.explain import Explanation, explain
from ctxsim.spec.scenario import load_scenario
from ctxsim.units import SECONDS_PER_HOUR, tokens
from maps.cells import BASE, HELD, LONG, SHORT, TURNS_TOKENS, Node, bold, by_model, spread
from maps.origin import explained, percent

GIGABYTE, TERA = 1e9, 1e12
WIDEST, WISHED = "bf16", "fp8"
"""Formats that weights should have: the second where the first does not fit."""

CALIBRATED_AT = "50k"


def machines(nodes: Sequence[Node]) -> str:
    """A row a machine, per accelerator."""
    header = [
        "machine", "profile", "USD/hour", "as of", "bf16, TFLOP/s", "HBM, GB", "HBM, TB/s", "NVLink, GB/s",
        "host link, GB/s", "shared by",
    ]  # fmt: skip
    rows = []
    for node in {node.hardware: node for node in nodes}.values():
        found = node.scenario(SHORT).hardware
        rows.append(
            [
                node.machine, found.name, f"{found.accelerator_usd_per_s * SECONDS_PER_HOUR:.2f}", found.price_date,
                plain((found.peak_flop_per_s("bf16") or 0.0) / TERA), plain(found.hbm_bytes / GIGABYTE),
                plain(found.hbm_bytes_per_s / TERA), plain((found.scale_up_bytes_per_s or 0.0) / GIGABYTE),
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
        kv_bytes = analyze(mine[0].scenario(SHORT)).keys["kv_bytes_per_token"]
        rows.append(
            [model, f"{made_for:,}", f"{kv_bytes:,.0f}", *(f"{node.weights}, {node.most_tokens:,}" for node in mine)]
        )
    return table(["model", "made for, tokens", "KV, bytes/token", *names], rows)


def _unfitting(nodes: Sequence[Node]) -> Iterator[tuple[Node, str]]:
    """What was wished for and does not fit: weights that had to be narrower, and the longest context."""
    for node in nodes:
        if node.weights not in (WIDEST, WISHED):
            yield Node(node.model, node.hardware, WISHED), next(one for one in HELD if node.holds(one))
        if not node.holds(LONG):
            yield node, LONG


def _missing_bytes(node: Node, context: str) -> float:
    cost = CostModel(node.scenario(SHORT))
    return cost.layout.held_bytes(tokens(context) + TURNS_TOKENS) - cost.memory.kv_capacity_bytes


def missing(nodes: Sequence[Node]) -> str:
    """How much HBM a node lacks for what was wished."""
    rows = []
    for node, context in _unfitting(nodes):
        memory, lacking_bytes = CostModel(node.scenario(SHORT)).memory, _missing_bytes(node, context)
        parts = (
            memory.weight_bytes, lacking_bytes + memory.kv_capacity_bytes,
            memory.activation_bytes + memory.reserve_bytes, memory.usable_bytes, lacking_bytes,
        )  # fmt: skip
        rows.append([node.name, node.weights, context.upper(), *(plain(part / GIGABYTE) for part in parts)])
    return table(["node", "weights", "session", "weights, GB", "KV", "activations, reserve", "usable", "missing"], rows)


def missing_findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence, where anything is missing."""
    told = [
        f"{bold(_missing_bytes(node, context) / GIGABYTE)} GB for {node.weights} weights and {context.upper()} on "
        f"{node.machine}"
        for node, context in _unfitting(nodes)
    ]
    if told:
        models = " and ".join(dict.fromkeys(node.model for node, _ in _unfitting(nodes)))
        yield f"Only {models} does not fit as wished: a node lacks {', '.join(told)}."


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
