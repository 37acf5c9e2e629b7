"""What of a replica's HBM is left for KV cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ctxsim.cost.weights import FP32_BYTES, model_bytes, plain_bytes
from ctxsim.geometry import KvLayout
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Memory:
    """HBM of one replica in bytes, summed over its ranks.

    usable = hbm * gpu_memory_utilization; kv_capacity = usable - weights - activations - reserve, which is negative
    where the weights do not fit; with a server's block count, that many blocks.
    """

    hbm_bytes: Any
    usable_bytes: Any
    weight_bytes: float
    activation_bytes: float
    reserve_bytes: float
    kv_capacity_bytes: Any

    @property
    def weights_fit(self) -> bool:
        """Whether there is room for the weights at all, whatever a server's block count says."""
        return bool(self.weight_bytes <= self.usable_bytes)


def replica_memory(scenario: Scenario, layout: KvLayout, hbm_bytes: Any | None = None) -> Memory:
    """The memory of one replica; ``hbm_bytes`` of one accelerator replaces the profile's (a number or an array)."""
    deployment, serving = scenario.deployment, scenario.serving
    ranks, shards = deployment.ranks, deployment.tensor_parallel
    hbm = ranks * (scenario.hardware.hbm_bytes if hbm_bytes is None else hbm_bytes)
    usable = hbm * serving.gpu_memory_utilization
    weights = deployment.context_parallel * model_bytes(scenario.model, serving.weight_dtype, shards)
    if serving.drafting is not None and serving.drafting.draft.model is not None:
        assert scenario.draft is not None
        weights += deployment.context_parallel * model_bytes(scenario.draft, serving.weight_dtype, shards)
    activations = ranks * activation_peak_bytes(scenario)
    reserve = ranks * serving.runtime_reserve
    kv_bytes = usable - weights - activations - reserve
    if serving.num_gpu_blocks_override is not None:
        kv_bytes = serving.num_gpu_blocks_override * layout.block_bytes
    return Memory(hbm, usable, weights, activations, reserve, kv_bytes)


def store_bytes(scenario: Scenario) -> tuple[float, float]:
    """Host memory and disk for the KV of one replica: replicas on one node share it equally, as engines that each
    pin their own when they start; a replica on several nodes has that of all."""
    deployment, serving = scenario.deployment, scenario.serving
    fitting = deployment.accelerators_per_node // deployment.ranks
    if fitting:
        share = 1 / min(fitting, deployment.replicas)
    else:
        share = -(-deployment.ranks // deployment.accelerators_per_node)
    return serving.host_kv_capacity * share, serving.disk_kv_capacity * share


def activation_peak_bytes(scenario: Scenario) -> float:
    """Peak activation bytes of one rank while the largest batch runs, unless the scenario gives it.

    An estimate, not a measurement: the residual stream, its normed copy and the widest feed-forward layer's
    intermediates (gate, up and their product, all alive at once) in the activations' format for max_num_batched_tokens
    tokens, and float32 logits for max_num_seqs sequences.
    """
    given = scenario.serving.activation_peak
    if given != "auto":
        return float(given)
    model, ranks = scenario.model, scenario.deployment.tensor_parallel
    per_token = plain_bytes(scenario.serving.weight_dtype) * (
        2 * model.hidden_size + _widest_intermediate(model) / ranks
    )
    logits = scenario.serving.max_num_seqs * model.vocab_size * FP32_BYTES / ranks
    return scenario.serving.max_num_batched_tokens * per_token + logits


def _widest_intermediate(model: ModelSpec) -> float:
    """Values a token has in all intermediates of the widest feed-forward layer: its active weights / hidden size.

    Of a table it adds up one row for table_bits inputs, so that its values are those of a product so many times larger.
    """
    return max(
        sum(m.active_parameters * max(1, m.table_bits) for m in layer.feed_forward) / model.hidden_size
        for layer in model.layer_counts
    )
