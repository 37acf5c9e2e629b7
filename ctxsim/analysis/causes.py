"""What a replica's time would be if KV bytes weighed nothing, or if tokens did not look back: who causes a second.

Without KV bytes attention kernels compute all that they do but read and write nothing. Without the quadratic work no
query-key pair is computed either, and what latent attention expands of its cache it expands once a token. Each time
is the roofline's with those amounts at zero, so what else an operation waits for is left standing. A law that is not
the plain roofline (fidelity calibrated) lasts as it does, divided as the roofline at the peaks is: as bills are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ctxsim.cost import CostModel, Operation, RooflineLaw, course_s, repetitions
from ctxsim.geometry import BatchTotals


@dataclass(frozen=True, slots=True)
class Counted:
    """Which costs count: bytes of KV (held, read, written, moved), and FLOP that grow with the square of a context."""

    kv_bytes: bool = True
    quadratic: bool = True


ALL = Counted()


class CountedTimes:
    """Seconds of a replica with only the costs that count."""

    def __init__(self, cost: CostModel, counted: Counted) -> None:
        overhead_s = cost.scenario.serving.iteration_overhead
        self._spans = cost.spans
        self._law = cost.law
        self._all = RooflineLaw(cost.operations, cost.rates, overhead_s)
        self._some: RooflineLaw | None = None
        if counted != ALL:
            self._some = RooflineLaw(counted_operations(cost.operations, counted), cost.rates, overhead_s)

    def alone_s(self, tokens: int, past_tokens: int, per_iteration: int) -> float:
        """Seconds in which one sequence computes ``tokens`` after its past, so many an iteration."""
        return self.shared_s(tokens, past_tokens, per_iteration, 1.0)

    def shared_s(self, tokens: int, past_tokens: int, per_iteration: int, sequences: float) -> float:
        """A sequence's even part of the seconds in which so many alike compute that together."""
        runs = repetitions(self._spans, tokens, past_tokens, per_iteration)
        return sum(self._seconds(_together(batch, sequences), repeats) for batch, repeats in runs) / sequences

    def _seconds(self, batch: BatchTotals, repeats: int) -> float:
        seconds = course_s(self._law(batch), repeats)
        if self._some is None:
            return seconds
        return seconds * course_s(self._some(batch), repeats) / course_s(self._all(batch), repeats)


def counted_operations(operations: tuple[Operation, ...], counted: Counted) -> tuple[Operation, ...]:
    """The operations with nothing but the costs that count."""
    return tuple(_counted(op, counted) for op in operations)


def _counted(op: Operation, counted: Counted) -> Operation:
    if not counted.kv_bytes:
        op = replace(op, bytes_per_touched=0.0)
    if counted.quadratic:
        return op
    once = op.flop_per_touched if op.bytes_per_pass else 0.0
    op = replace(op, flop_per_pair=0.0, flop_per_touched=0.0)
    # A product with weights that every chunk does again for what it looks back at: once for its own tokens.
    return replace(op, flop_per_token=op.flop_per_token + once, flop_per_decode_token=0.0) if once else op


def _together(batch: BatchTotals, sequences: float) -> BatchTotals:
    """The totals of so many sequences like that of the batch."""
    if sequences == 1:
        return batch
    return BatchTotals(
        sequences * batch.sequences,
        sequences * batch.new_tokens,
        sequences * batch.decode_tokens,
        *([sequences * value for value in values] for values in (batch.pairs, batch.pairs_growth)),
        *([sequences * value for value in values] for values in (batch.touched, batch.touched_growth)),
    )
