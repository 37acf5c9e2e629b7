"""A scenario compiled into coefficients, once; everything that needs a time or an amount asks here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ctxsim.cost.compiling import compile_operations, spans_of
from ctxsim.cost.context_parallel import Exchange, divide_context
from ctxsim.cost.decode_kernels import KernelReader, readers
from ctxsim.cost.early_exit import leave_early
from ctxsim.cost.law import Law, RooflineLaw
from ctxsim.cost.memory import Memory, replica_memory
from ctxsim.cost.operations import Operation, OperationCost, Rates, bound_of
from ctxsim.cost.speculation import DRAFT_PROMPTS, DRAFTING, Part, Rounds, SpeculativeLaw, drafter_of
from ctxsim.cost.transfers import host_link_bytes_per_s
from ctxsim.cost.weights import WEIGHT_DTYPES, plain_dtype
from ctxsim.errors import Fault, SpecError
from ctxsim.geometry import BatchTotals, ContextClass, KvLayout, Span, attention_classes, copies_of, lone_sequence
from ctxsim.spec.domains import Domains
from ctxsim.spec.scenario import Scenario

if TYPE_CHECKING:
    from ctxsim.cost.calibrated import Pricing
    from ctxsim.cost.curves import Device
    from ctxsim.cost.shares import Division


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware numbers of one accelerator that replace the profile's; numbers, or numpy arrays for a grid.

    Rates of narrower formats keep the profile's ratio to bf16.
    """

    bf16_flop_per_s: Any | None = None
    hbm_bytes_per_s: Any | None = None
    hbm_bytes: Any | None = None
    host_link_bytes_per_s: Any | None = None


class CostModel:
    """One scenario's costs, per replica.

    operations: what a pass of the model does. spans: the attention kernels, in the order of BatchTotals.pairs, those of
    a draft last. layout: bytes of KV, a draft's among them.
    memory: what is left for it. rates, host_link_bytes_per_s: of all ranks together. law: seconds of a batch.
    """

    def __init__(self, scenario: Scenario, machine: Machine | None = None, minimum: Callable[..., Any] = min) -> None:
        machine = machine or Machine()
        model, serving = scenario.model, scenario.serving
        ranks = scenario.deployment.tensor_parallel
        by_phase = scenario.calibration is not None or serving.decodes_apart or scenario.deployment.context_parallel > 1
        classes = attention_classes(model, serving.kv_dtype, ranks, by_phase)
        self.scenario = scenario
        self.rates = _rates(scenario, machine)
        self.spans: tuple[Span, ...] = spans_of(classes)
        domains = Domains.of(scenario.deployment, scenario.hardware)
        operations = compile_operations(model, classes, serving.weight_dtype, ranks, self.rates, domains.of_group)
        operations = _read_by(tuple(readers(scenario, classes)), operations)
        if serving.depth_ratio is not None:
            exits = (serving.weight_dtype, ranks, serving.depth_ratio)
            operations = leave_early(operations, self.spans, model, *exits)
        self.operations: tuple[Operation, ...] = self._divided(operations, classes, domains)
        self._rounds: Rounds | None = None
        self.layout = KvLayout.of(model, serving.kv_dtype, ranks, serving.block_size)
        if serving.drafting is not None:
            drafter = drafter_of(scenario, serving.drafting, self.rates)
            drafter = replace(drafter, operations=self._divided(drafter.operations, drafter.classes, domains))
            self._rounds = Rounds(serving.drafting, self.operations, self.spans, drafter)
            self.spans = (*self.spans, *drafter.spans)
            held = (*self.layout.held, *drafter.held)
            self.layout = KvLayout(held, self.layout.state_bytes, serving.block_size)
        self.memory: Memory = replica_memory(scenario, self.layout, machine.hbm_bytes)
        self.host_link_bytes_per_s = host_link_bytes_per_s(scenario, machine.host_link_bytes_per_s, minimum)
        self._pricing = None if scenario.calibration is None else self._calibrated(machine, classes)
        self.law: Law = self.law_beside(0.0)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """At fidelity calibrated, the operations that the calibration has no fit for."""
        return () if self._pricing is None else self._pricing.unpriced

    def law_beside(self, copy_bytes_per_s: float) -> Law:
        """Seconds of a batch while copies move that many bytes a second in and out of HBM.

        Kernels have what is left of the HBM bandwidth: half of it at least, a fair share.
        """
        hbm = self.rates.hbm_bytes_per_s
        left = max(hbm - copy_bytes_per_s, hbm / 2) if copy_bytes_per_s else hbm
        if self._pricing is not None:
            return self._pricing.law(left / hbm)
        rates = replace(self.rates, hbm_bytes_per_s=left) if copy_bytes_per_s else self.rates
        overhead_s = self.scenario.serving.iteration_overhead
        if self._rounds is None:
            return RooflineLaw(self.operations, rates, overhead_s)
        return SpeculativeLaw(self._rounds, [RooflineLaw(ops, rates, overhead_s) for ops in self._rounds.operations])

    def batch(self, new: Any, past: Any, minimum: Callable[..., Any] = min, sequences: Any = 1) -> BatchTotals:
        """Totals of ``sequences`` equal sequences with ``new`` tokens after ``past`` ones each."""
        return lone_sequence(self.spans, new, past, minimum, sequences)

    def parts(self, batch: BatchTotals) -> list[Part]:
        """The passes that an iteration over a batch is made of: one, unless tokens are drafted."""
        return [Part(self.operations, batch, None, 1.0)] if self._rounds is None else self._rounds.parts(batch)

    def breakdown(self, batch: BatchTotals, maximum: Callable[..., Any] = max) -> list[OperationCost]:
        """The cost of every operation of a batch; their seconds sum to the pass, less the fixed overhead."""
        if self._rounds is not None:
            return self._drafted_breakdown(batch, maximum)
        peaks = [self._cost(op, batch, maximum) for op in self.operations]
        if self._pricing is None:
            return peaks
        from ctxsim.cost.calibrated.breakdown import calibrated_costs

        return calibrated_costs(self._pricing, peaks, batch, maximum)

    def pass_s(self, batch: BatchTotals, maximum: Callable[..., Any] = max) -> Any:
        """Seconds of one iteration over a batch (numbers, or arrays with ``maximum=numpy.maximum``)."""
        overhead = self.scenario.serving.iteration_overhead * sum(part.weight for part in self.parts(batch))
        return overhead + sum(cost.seconds for cost in self.breakdown(batch, maximum))

    def division(self, batch: BatchTotals, decodes: BatchTotals) -> Division:
        """Seconds of an iteration, divided between ``decodes``, a part of the batch, and the rest; or arrays."""
        if self._pricing is not None:
            return self._pricing.division(batch, decodes)
        from ctxsim.cost.shares import drafted_division, peak_division

        overhead_s = self.scenario.serving.iteration_overhead
        if self._rounds is not None:
            return drafted_division(self.parts(batch), self.rates, overhead_s, decodes)
        return peak_division(self.operations, self.rates, overhead_s, batch, decodes)

    def flop(self, batch: BatchTotals) -> Any:
        """FLOP of one iteration over a batch."""
        return self._total(batch, lambda op, part: op.flop(part))

    def compute_s(self, batch: BatchTotals) -> Any:
        """Seconds that these FLOP take at the peak rates of their number formats."""
        return self._total(batch, lambda op, part: op.flop(part) / op.flop_per_s)

    def hbm_bytes(self, batch: BatchTotals) -> Any:
        """HBM bytes of one iteration over a batch."""
        return self._total(batch, lambda op, part: op.hbm_bytes(part))

    def streamed_bytes(self, batch: BatchTotals) -> Any:
        """Weight bytes of one iteration: what the sequences of a batch share."""
        return self._total(batch, lambda op, part: op.streamed_bytes(op.rows(part), part.decode_tokens))

    def _total(self, batch: BatchTotals, amount: Callable[[Operation, BatchTotals], Any]) -> Any:
        """A sum over the operations of all passes."""
        return sum(part.weight * sum(amount(op, part.batch) for op in part.operations) for part in self.parts(batch))

    def _drafted_breakdown(self, batch: BatchTotals, maximum: Callable[..., Any]) -> list[OperationCost]:
        """The operations of all passes by what they take of an iteration, those of the draft by names of their own."""
        found: dict[str, OperationCost] = {}
        for part in self.parts(batch):
            prefix = "draft " if part.who in (DRAFTING, DRAFT_PROMPTS) else ""
            for op in part.operations:
                cost = self._cost(op, part.batch, maximum).weighed(part.weight, prefix)
                found[cost.name] = found[cost.name].plus(cost) if cost.name in found else cost
        return list(found.values())

    def _divided(
        self, operations: tuple[Operation, ...], classes: tuple[ContextClass, ...], domains: Domains
    ) -> tuple[Operation, ...]:
        """The operations of one tensor-parallel group as those of all that a replica has."""
        deployment = self.scenario.deployment
        groups, ranks = deployment.context_parallel, deployment.ranks
        if groups == 1:
            return operations
        copies = [copies_of(c, deployment.tensor_parallel) for c in classes for _ in c.spans]
        alike = [min(domains.together, number) for number in copies]
        exchanges = [Exchange.of(groups, ranks, self.rates, domains.of_context, number) for number in alike]
        return divide_context(operations, spans_of(classes), groups, exchanges)

    def _calibrated(self, machine: Machine, classes: tuple[ContextClass, ...]) -> Pricing:
        """Loaded only here: fidelity peak needs no arrays."""
        from ctxsim.cost.calibrated import Pricing

        return Pricing(self.scenario, _device(self.scenario, machine), classes, self.operations, self.rates)

    def _cost(self, op: Operation, batch: BatchTotals, maximum: Callable[..., Any]) -> OperationCost:
        flop, moved, sent = op.flop(batch), op.hbm_bytes(batch), op.link_bytes(batch)
        compute_s = flop / op.flop_per_s
        hbm_s = moved / op.hbm_bytes_per_s(batch, self.rates.hbm_bytes_per_s)
        link_s = self.rates.sent_s(op, batch) + self.rates.waited_s(op)
        seconds = maximum(compute_s, hbm_s) + link_s
        bound = bound_of(compute_s, hbm_s, link_s) if maximum is max else ""
        if bound == "hbm" and op.reader is not None:
            bound = op.reader.waits_for(self.rates.hbm_bytes_per_s) or bound
        elif bound == "link" and op.between_domains:
            bound = "network"
        return OperationCost(op.name, flop, moved, sent, compute_s, hbm_s, link_s, seconds, bound)


def _read_by(found: tuple[KernelReader | None, ...], operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations, those that read a span with its reader."""
    return tuple(op if op.span is None else replace(op, reader=found[op.span]) for op in operations)


def _device(scenario: Scenario, machine: Machine) -> Device:
    """The accelerator that a calibration's shares are of; the numbers of one machine, never of a grid of them."""
    from ctxsim.cost.curves import Device

    device = Device.of(scenario.hardware)
    given = (machine.bf16_flop_per_s, machine.hbm_bytes_per_s)
    if any(getattr(number, "ndim", 0) for number in given):
        message = "expected fidelity peak for a grid over rates, found calibrated; write fidelity: peak"
        raise SpecError(Fault(scenario.path, None, None, "fidelity", message))
    bf16 = device.peak("bf16")
    faster = _replaced(machine.bf16_flop_per_s, bf16) / bf16
    peaks = tuple((dtype, peak * faster) for dtype, peak in device.peak_flop_per_s)
    hbm = _replaced(machine.hbm_bytes_per_s, device.hbm_bytes_per_s)
    return replace(device, peak_flop_per_s=peaks, hbm_bytes_per_s=hbm)


def _rates(scenario: Scenario, machine: Machine) -> Rates:
    hardware, ranks = scenario.hardware, scenario.deployment.ranks
    dtype = scenario.serving.weight_dtype
    profile: Any = hardware.peak_flop_per_s("bf16")
    bf16 = _replaced(machine.bf16_flop_per_s, profile)
    plain, weights = (hardware.peak_flop_per_s(name) for name in (plain_dtype(dtype), WEIGHT_DTYPES[dtype].compute))
    return Rates(
        plain_flop_per_s=ranks * bf16 * (1.0 if plain is None else plain / profile),
        weight_flop_per_s=ranks * bf16 * (1.0 if weights is None else weights / profile),
        hbm_bytes_per_s=ranks * _replaced(machine.hbm_bytes_per_s, hardware.hbm_bytes_per_s),
        link_bytes_per_s=hardware.scale_up_bytes_per_s,
        network_bytes_per_s=hardware.scale_out_bytes_per_s,
        network_latency_s=hardware.scale_out_latency_s or 0.0,
    )


def _replaced(given: Any | None, profile: Any) -> Any:
    return profile if given is None else given
