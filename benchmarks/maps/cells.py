"""What the maps compare: models on replicas of eight accelerators or more, one session over contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from shown import plain, table

from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import session_at
from ctxsim.cost import CostModel
from ctxsim.explore.fitting import smallest
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.units import tokens

BASE = "yi-34b-50k-a100"
RANKS = 8
MOST_NODES = 8
MODELS = ("yi-34b-200k", "llama-3.1-70b", "qwen3-32b", "deepseek-v3", "gpt-oss-120b")
MACHINES = {"a100-80gb-sxm": "A100", "h100-80gb-sxm": "H100", "h200-sxm": "H200", "b200-sxm": "B200"}
WIDE, NARROW = "bf16", "fp8"
"""Formats of weights: the first where one node holds a session of 1M beside them."""

SHORT, LONG = "4k", "1m"
CONTEXTS = (SHORT, "50k", "100k", "128k", LONG)
"""All that any table shows."""

TURNS_TOKENS = 2_000
"""Room above the document for five rounds of question and answer."""


@dataclass(frozen=True)
class Node:
    """A model on machines of one kind, eight accelerators a node, with weights in one format."""

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

    def settings(self, context: str, on: str | None = None) -> Mapping[str, object]:
        """What differs from the running example; ``on``: the context whose replica serves it, its own unless given."""
        return {**_replica(self, *self.cut(tokens(on or context))), "workload.document_tokens": tokens(context)}

    def scenario(self, context: str, on: str | None = None) -> Scenario:
        """The session over a document of so many tokens; ``on`` as for settings."""
        return _loaded(self, context, on or context)

    def replica(self, context_tokens: int) -> Scenario:
        """The running example on the replica that holds such a session."""
        return _on(self, *self.cut(context_tokens))

    def cut(self, context_tokens: int) -> tuple[int, int]:
        """Accelerators of a tensor-parallel group, and groups, of the replica that holds such a session.

        On the fewest nodes, a power of two, cut so that it holds most such sessions.
        """
        return _cut(self, context_tokens)

    def nodes(self, context: str) -> int:
        """How many a replica has that holds such a session."""
        ranks, groups = self.cut(tokens(context))
        return ranks * groups // RANKS

    @property
    def most_tokens(self) -> int:
        """The longest context whose KV fits beside the weights on one node; 0 where they do not fit."""
        cost = CostModel(_on(self, RANKS, 1))
        room_bytes = cost.memory.kv_capacity_bytes
        low, high = 0, tokens(LONG) * 1_000
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cost.layout.held_bytes(middle) <= room_bytes else (low, middle)
        return low


def _replica(node: Node, ranks: int, groups: int) -> dict[str, object]:
    """Settings of a replica of so many accelerators a group, and groups."""
    return {
        "model": node.model,
        "hardware": node.hardware,
        "deployment.tensor_parallel": ranks,
        **({"deployment.context_parallel": groups} if groups > 1 else {}),
        "serving.weight_dtype": node.weights,
        "serving.max_model_len": tokens(LONG) + TURNS_TOKENS,
    }


@cache
def _on(node: Node, ranks: int, groups: int) -> Scenario:
    return load_scenario(BASE, _replica(node, ranks, groups))


@cache
def _loaded(node: Node, context: str, on: str) -> Scenario:
    return load_scenario(BASE, dict(node.settings(context, on)))


@cache
def _cut(node: Node, context_tokens: int) -> tuple[int, int]:
    scenario = _on(node, RANKS, 1)
    session = session_at(typical_session(scenario), context_tokens + TURNS_TOKENS)
    sizes = [RANKS * 2**doubled for doubled in range(MOST_NODES.bit_length())]
    found = smallest(scenario, session, sizes)
    assert found is not None, f"{node.name} holds no session of {context_tokens} tokens on {MOST_NODES} nodes"
    return found.deployment.tensor_parallel, found.deployment.context_parallel


def node_of(model: str, hardware: str) -> Node:
    """The model with the widest weights beside which one node holds a session of a million tokens, else in fp8."""
    wide = Node(model, hardware, WIDE)
    return wide if tokens(LONG) + TURNS_TOKENS <= wide.most_tokens else Node(model, hardware, NARROW)


def nodes_of(models: Sequence[str], machines: Sequence[str]) -> list[Node]:
    """Models on machines, model by model."""
    return [node_of(model, hardware) for model in models for hardware in machines]


def context_name(context: str, node: Node) -> str:
    """The context for a table, marked where it is beyond what the model was made for."""
    beyond = tokens(context) > node.scenario(SHORT).model.max_context_tokens
    return f"{context.upper()}{'*' if beyond else ''}"


Told = Callable[[Node, str], str]


def by_model(nodes: Sequence[Node], contexts: Sequence[str], told: Told) -> str:
    """A table with a row a model and context, and a column a machine."""
    machines = list(dict.fromkeys(node.machine for node in nodes))
    rows = []
    for model in dict.fromkeys(node.model for node in nodes):
        mine = [node for node in nodes if node.model == model]
        for context in contexts:
            rows.append([model, context_name(context, mine[0]), *(told(node, context) for node in mine)])
    return table(["model", "context", *machines], rows)


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
