"""How the model is deployed and served: vLLM's knobs by vLLM's names, and what the run is judged by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ctxsim.spec.quantity import Bytes, BytesOrAuto, Seconds, UsdPerByteS, UsdPerJoule, UsdPerS, Warmup
from ctxsim.spec.speculation import EarlyExit, Speculation
from ctxsim.spec.validation import FieldError, Spec
from ctxsim.units import parse

Count = Annotated[int, Field(ge=1, le=10**9)]
Ratio = Annotated[float, Field(gt=0, le=1)]
Dtype = Literal["bf16", "fp32", "fp8", "int8", "int4"]
KvFormat = Literal["bf16", "fp32", "fp8", "int8", "int4", "int4_scale", "kivi2", "kvquant3", "wkvquant4"]
Router = Literal["round_robin", "least_loaded", "session_affinity", "prefix_aware", "central_queue"]
Scheduler = Literal["fcfs", "prefill_first", "decode_first", "shortest_prompt_first", "fair"]
DecodeAttention = Literal["flash_attention_2", "flash_decoding", "lean_attention"]
Residency = Literal["keep", "swap", "recompute", "cheapest", "clairvoyant"]


class ReplicaGroup(Spec):
    """Replicas of another kind beside a deployment's own, on nodes of their own.

    hardware: a name, or a path relative to the file; the scenario's, in its host, where there is none. host: puts the
    accelerators into another host than that. Contexts are divided over as many groups as in the deployment's own.
    """

    replicas: Count = 1
    hardware: Annotated[str, Field(min_length=1)] | None = None
    host: Annotated[str, Field(min_length=1)] | None = None
    tensor_parallel: Count = 1
    accelerators_per_node: Count = 8


class Deployment(Spec):
    """Copies of the model and how each is cut over accelerators; ``groups``: further replicas of other kinds.

    ``context_parallel``: tensor-parallel groups of a replica, which divide the tokens of its sequences; each has all
    weights.
    """

    replicas: Count = 1
    tensor_parallel: Count = 1
    context_parallel: Count = 1
    pipeline_parallel: Count = 1
    expert_parallel: Count = 1
    accelerators_per_node: Count = 8
    router: Router = "round_robin"
    groups: Annotated[tuple[ReplicaGroup, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _supported(self) -> Deployment:
        for name in ("pipeline_parallel", "expert_parallel"):
            found = getattr(self, name)
            if found != 1:
                raise FieldError(name, f"expected 1 (more is not modelled in this version), found {found}; set 1")
        return self

    @property
    def accelerators(self) -> int:
        """Accelerators of all replicas together, those of further groups not counted."""
        return self.replicas * self.ranks

    @property
    def ranks(self) -> int:
        """Accelerators of one replica."""
        return self.tensor_parallel * self.context_parallel

    def of_group(self, group: ReplicaGroup) -> Deployment:
        """The deployment of one of the further groups on its own."""
        own = ("replicas", "tensor_parallel", "accelerators_per_node")
        return self.model_copy(update={"groups": ()} | {name: getattr(group, name) for name in own})


class Serving(Spec):
    """One replica's engine settings.

    ``activation_peak``: the most memory a pass needs for activations, per accelerator ("auto": from the
    model's shape). ``runtime_reserve``: what context, graphs and communication buffers hold, per accelerator;
    1 GiB by default is an assumption. ``weight_dtype``: fp32 makes activations, and what is never quantised, fp32 too;
    beside every other format they are bf16. ``iteration_overhead``: host time of each iteration.
    ``num_gpu_blocks_override``: the number of KV blocks, from a server's log, instead of the derived one.
    ``copy_descriptor_overhead``: host time of each descriptor of a copy between tiers; None: at fidelity peak none, at
    calibrated what the profile's link was measured to take. ``copy_descriptors_per_block``: pieces in which one block
    is copied; None: one for each layer that keeps KV, as in engines with one tensor a layer.
    ``copy_descriptors_per_copy``: pieces in which a copy is made however many blocks it has, as by an engine whose
    sessions lie in one piece in each layer. ``decode_attention``: the kernel that reads KV in decode, where that is to
    count; None: all of the bandwidth at fidelity peak, the measured kernel at calibrated. ``speculation``:
    several tokens a round of drafting and verifying. ``early_exit``: decoding tokens that leave the model before its
    last layer.
    """

    gpu_memory_utilization: Ratio = 0.92
    block_size: Count = 16
    max_num_seqs: Count = 256
    max_num_batched_tokens: Count = 2048
    max_model_len: Count | None = None
    weight_dtype: Dtype = "bf16"
    kv_dtype: KvFormat = "bf16"
    enable_prefix_caching: bool = True
    scheduler: Scheduler = "fcfs"
    residency: Residency = "swap"
    host_tier: Literal["exclusive", "inclusive"] = "exclusive"
    host_kv_capacity: Bytes = 0.0
    disk_kv_capacity: Bytes = 0.0
    num_gpu_blocks_override: Count | None = None
    activation_peak: BytesOrAuto = "auto"
    runtime_reserve: Bytes = parse("1 GiB", "bytes")
    iteration_overhead: Seconds = 0.0
    copy_descriptor_overhead: Seconds | None = None
    copy_descriptors_per_block: Count | None = None
    copy_descriptors_per_copy: Count | None = None
    decode_attention: DecodeAttention | None = None
    speculation: Speculation | None = None
    early_exit: EarlyExit | None = None

    @property
    def drafting(self) -> Speculation | None:
        """The speculation, where anything is drafted."""
        return self.speculation if self.speculation is not None and self.speculation.draft_tokens else None

    @property
    def depth_ratio(self) -> float | None:
        """The share of the layers that decoding tokens compute on average, where that is not all."""
        return None if self.early_exit is None or self.early_exit.depth_ratio == 1 else self.early_exit.depth_ratio

    @property
    def decodes_apart(self) -> bool:
        """Whether decoding tokens cost otherwise than prompts do, so that their kernels are told apart."""
        return any(way is not None for way in (self.decode_attention, self.drafting, self.depth_ratio))

    @model_validator(mode="after")
    def _values_no_wider_than_weights(self) -> Serving:
        if self.kv_dtype == "fp32" != self.weight_dtype:
            message = f"expected fp32 beside weight_dtype: fp32 only, found weight_dtype: {self.weight_dtype}"
            raise FieldError("kv_dtype", f"{message}; write fp32 for both, or bf16")
        return self

    @model_validator(mode="after")
    def _pieces_counted_once(self) -> Serving:
        if None not in (self.copy_descriptors_per_block, self.copy_descriptors_per_copy):
            message = "expected copy_descriptors_per_block or this, found both; leave one out"
            raise FieldError("copy_descriptors_per_copy", message)
        return self

    @model_validator(mode="after")
    def _budget_covers_batch(self) -> Serving:
        # vLLM refuses it too: one decoding token of every running sequence must fit one iteration.
        if self.max_num_batched_tokens < self.max_num_seqs:
            message = f"expected at least max_num_seqs ({self.max_num_seqs}), found {self.max_num_batched_tokens}"
            raise FieldError("max_num_batched_tokens", f"{message}; raise it or lower max_num_seqs")
        return self


class Slo(Spec):
    """What a request must meet to count as good: time to first token and time per output token."""

    ttft: Seconds | None = None
    tpot: Seconds | None = None
    percentile: Annotated[float, Field(gt=0, lt=100)] = 95.0


class PriceOverride(Spec):
    """Prices that replace those of the hardware profile and its host; what is absent stays as they have it.

    ``energy_billed``: whether energy is on the bill, beside the price of the accelerators.
    """

    accelerator: UsdPerS | None = None
    host_memory: UsdPerByteS | None = None
    disk: UsdPerByteS | None = None
    energy: UsdPerJoule | None = None
    energy_billed: bool = False


class Run(Spec):
    """One simulation: its random seed, how long at most, and how much of its beginning is not counted."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    horizon: Seconds | None = None
    warmup: Warmup = "auto"
