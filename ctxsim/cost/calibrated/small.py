"""Small kernels at measured times: what a pass runs beside its products and attention, and only moves activations.

They are those that vLLM runs one by one, or as torch.compile joins them (vllm/model_executor/models/llama.py;
docs.vllm.ai, design/fusions): in a layer two norms with their residual sums, the rotary embedding, the write of keys
and values to the cache, the activation; the embedding, a norm after the last layer, and the choice of a token. Not
counted, as nothing here timed them: choosing experts, norms over heads. Newer engines join some of these to each other,
to the quantisation or to the all-reduce; what that saves is part of the spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.products import Per
from ctxsim.cost.calibrated.tariffs import Tariff
from ctxsim.cost.curves import elementwise_s
from ctxsim.cost.curves.elementwise import PASSES, small_variant
from ctxsim.cost.weights import plain_bytes, plain_dtype
from ctxsim.spec.calibration import Fit
from ctxsim.spec.model import Attention, Layer
from ctxsim.spec.scenario import Scenario

NORMS = 2
"""Norms of a layer: before attention and before the feed-forward."""

LONE_NORM_PASSES, ADD_PASSES = 2, 3
"""Where residual sums were measured on their own, norms were measured without: a row is read and written; a sum reads
two and writes one."""


@dataclass(frozen=True, slots=True)
class Small:
    """The small kernels that were measured in the format of a scenario's activations."""

    bench: Bench
    dtype: str

    def fit(self, kernel: str) -> Fit | None:
        """The fit of that kernel; None where it was not measured."""
        return self.bench.calibration.fit("elementwise", small_variant(kernel, self.dtype))

    def moved(self, operation: str, kernel: str, runs: int, values: float, per: Per = "tokens") -> Iterator[Tariff]:
        """An operation that moves so many values a token, or a sequence; nothing where it was not measured."""
        fit = self.fit(kernel)
        if fit is not None:
            price = partial(_moved_s, self.bench, fit, plain_bytes(self.dtype) * values)
            yield Tariff(operation, "elementwise", per, runs, price)

    def norms(self, runs: int, width: int, per: Per = "tokens") -> Iterator[Tariff]:
        """Norms and residual sums: one kernel, or two where sums were measured on their own, and norms without."""
        apart = self.fit("add") is not None
        yield from self.moved("norms", "norm", runs, (LONE_NORM_PASSES if apart else PASSES["norm"]) * width, per)
        yield from self.moved("norms", "add", runs, ADD_PASSES * width, per)


def priced_small_kernels(scenario: Scenario, bench: Bench) -> Iterator[Tariff]:
    """Embedding, norms with residual sums, rotary embedding, writes to the KV cache, activations, tokens chosen."""
    model, ranks = scenario.model, scenario.deployment.tensor_parallel
    small = Small(bench, plain_dtype(scenario.serving.weight_dtype))
    if model.embedding_parameters:
        yield from small.moved("embedding", "embedding", 1, PASSES["embedding"] * model.hidden_size)
        yield from small.norms(1, model.hidden_size)
    for layer, number in model.layer_counts.items():
        per: Per = "sequences" if layer.last_token_only else "tokens"
        yield from small.norms(NORMS * number, model.hidden_size, per)
        for operation, values in _by_rank(layer, ranks).items():
            yield from small.moved(operation, operation, number, values, per)
    yield from small.moved("sampling", "sampling", 1, PASSES["sampling"] * model.vocab_size, "sequences")


def _by_rank(layer: Layer, ranks: int) -> dict[str, float]:
    """Values a token that one rank reads and writes in the small kernels of a layer."""
    values: dict[str, float] = {}
    if isinstance(layer.mixer, Attention):
        mixer = layer.mixer
        kv_heads = max(1, mixer.num_kv_heads / ranks) if mixer.keeping.stores else 0
        values["rotary"] = PASSES["rotary"] * (mixer.num_heads / ranks + kv_heads) * mixer.qk_head_dim
        values["kv_store"] = PASSES["kv_store"] * kv_heads * (mixer.qk_head_dim + mixer.v_head_dim)
    dense = (m for m in layer.feed_forward if m.products and m.experts == 1 and m.operation != "router")
    widths = [m.products[-1].inputs for m in dense]
    if widths:
        values["activation"] = PASSES["activation"] * sum(widths) / ranks
    return values


def _moved_s(bench: Bench, fit: Fit, bytes_per_row: float, rows: int) -> float:
    return fit.scale_of(rows) * float(elementwise_s(bench.device, fit, rows * bytes_per_row, rows))
