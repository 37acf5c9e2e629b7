"""What the maps compare: models on nodes of eight accelerators, one session over contexts, weights as wide as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from shown import plain, table

from ctxsim.cost import CostModel
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.units import tokens

BASE = "yi-34b-50k-a100"
RANKS = 8
MODELS = ("yi-34b-200k", "llama-3.1-70b", "qwen3-32b", "deepseek-v3", "gpt-oss-120b")
MACHINES = {"a100-80gb-sxm": "A100", "h100-80gb-sxm": "H100", "h200-sxm": "H200", "b200-sxm": "B200"}
FORMATS = ("bf16", "fp8", "int4")

SHORT, LONG = "4k", "1m"
HELD = (LONG, "128k")
"""Contexts of which a node must hold one session: weights are as wide as the first allows, else the second."""

TURNS_TOKENS = 2_000
"""Room above the document for five rounds of question and answer."""


@dataclass(frozen=True)
class Node:
    """A model on eight accelerators of one kind, with weights in one format."""

    model: str
    hardware: str
    weights: str

    @property
    def machine(self) -> str:
        """Its name in tables."""
        return MACHINES[self.hardware]

    @property
    def name(self) -> str:
        """Both, for sentences."""
        return f"{self.model} on {self.machine}"

    def settings(self, context: str) -> Mapping[str, object]:
        """What differs from the running example."""
        return {
            "model": self.model,
            "hardware": self.hardware,
            "deployment.tensor_parallel": RANKS,
            "serving.weight_dtype": self.weights,
            "serving.max_model_len": tokens(LONG) + TURNS_TOKENS,
            "workload.document_tokens": tokens(context),
        }

    def scenario(self, context: str) -> Scenario:
        """The session over a document of so many tokens."""
        return _loaded(self, context)

    def holds(self, context: str) -> bool:
        """Whether weights and the session fit."""
        return tokens(context) + TURNS_TOKENS <= self.most_tokens

    @property
    def most_tokens(self) -> int:
        """The longest context whose KV fits beside the weights; 0 where they do not fit."""
        cost = CostModel(self.scenario(SHORT))
        room_bytes = cost.memory.kv_capacity_bytes
        low, high = 0, tokens(LONG) * 1_000
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cost.layout.held_bytes(middle) <= room_bytes else (low, middle)
        return low


@cache
def _loaded(node: Node, context: str) -> Scenario:
    return load_scenario(BASE, dict(node.settings(context)))


def node_of(model: str, hardware: str) -> Node:
    """The node with the widest weights that hold a session of a million tokens, else one of 128K tokens."""
    nodes = [Node(model, hardware, weights) for weights in FORMATS]
    return next(node for context in HELD for node in nodes if node.holds(context))


def nodes_of(models: Sequence[str], machines: Sequence[str]) -> list[Node]:
    """Models on machines, model by model."""
    return [node_of(model, hardware) for model in models for hardware in machines]


def context_name(context: str, node: Node) -> str:
    """The context for a table, marked where it is beyond what the model was made for."""
    beyond = tokens(context) > node.scenario(SHORT).model.max_context_tokens
    return f"{context.upper()}{'*' if beyond else ''}"


Told = Callable[[Node, str], str]


def by_model(nodes: Sequence[Node], contexts: Sequence[str], told: Told) -> str:
    """A table with a row a model and context, and a column a machine; "-" where a session does not fit."""
    machines = list(dict.fromkeys(node.machine for node in nodes))
    rows = []
    for model in dict.fromkeys(node.model for node in nodes):
        mine = [node for node in nodes if node.model == model]
        for context in contexts:
            cells = [told(node, context) if node.holds(context) else "-" for node in mine]
            rows.append([model, context_name(context, mine[0]), *cells])
    return table(["model", "context", *machines], rows)


def held(nodes: Sequence[Node], context: str) -> Iterator[Node]:
    """Those that hold a session of that context."""
    return (node for node in nodes if node.holds(context))


def bold(value: float | str | None) -> str:
    """A number of a finding as its table has it: a test looks it up there."""
    return f"**{value if isinstance(value, str) else plain(value)}**"


def extremes(nodes: Sequence[Node], value: Callable[[Node], float]) -> tuple[Node, Node]:
    """The ones with the least and the most of it."""
    return min(nodes, key=value), max(nodes, key=value)


def spread(
    nodes: Sequence[Node], value: Callable[[Node], float], told: Callable[[float], str] = plain, unit: str = ""
) -> str:
    """From the least to the most of it, as tables have both, and where they are; or that it is the same everywhere."""
    least, most = extremes(nodes, value)
    low, high = told(value(least)), told(value(most))
    if low == high:
        return f"{bold(low)}{unit} everywhere"
    return f"{bold(low)}{unit} ({least.name}) to {bold(high)}{unit} ({most.name})"
