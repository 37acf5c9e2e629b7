"""A scenario's operations at calibrated times: the law of an iteration, and what each operation takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ctxsim.cost.calibrated.bench import Bench
from ctxsim.cost.calibrated.compiling import priced_kernels, priced_operations
from ctxsim.cost.calibrated.law import CalibratedLaw
from ctxsim.cost.calibrated.shares import fixed_shares, kernel_shares
from ctxsim.cost.curves import Device
from ctxsim.cost.law import RooflineLaw
from ctxsim.cost.operations import Operation, OperationCost, Rates
from ctxsim.cost.shares import Division, Shares, Slope, peak_division
from ctxsim.geometry import BatchTotals, ContextClass
from ctxsim.spec.scenario import Scenario


class Pricing:
    """The calibrated times of one scenario on one device.

    operations: those of fidelity peak, for what the calibration has no fit for: these run at the shares of the peaks
    that the profile says were reached (efficiency.matmul_ratio, hbm_ratio), at the peaks where it says nothing.
    unpriced: their names. covers: by operation, those of fidelity peak whose time is in its own.
    """

    def __init__(
        self, scenario: Scenario, device: Device, classes: tuple[ContextClass, ...], operations: Sequence[Operation],
        rates: Rates,
    ) -> None:  # fmt: skip
        assert scenario.calibration is not None
        self._scenario = scenario
        self._classes = classes
        self._bench = Bench(device, scenario.calibration)
        self._tariffs = priced_operations(scenario, self._bench)
        self._kernels = priced_kernels(scenario, self._bench, classes)
        self.covers = {tariff.operation: tariff.covers for tariff in self._tariffs}
        priced = {tariff.operation for tariff in self._tariffs} | {kernel.operation for kernel in self._kernels}
        priced |= {name for names in self.covers.values() for name in names}
        hardware = scenario.hardware
        matmul_ratio, self._hbm_ratio = hardware.matmul_ratio or 1.0, hardware.hbm_ratio or 1.0
        self._rates = rates
        self._rest = tuple(
            replace(op, flop_per_s=op.flop_per_s * matmul_ratio) for op in operations if op.name not in priced
        )
        self.unpriced = tuple(op.name for op in self._rest)
        self.named = tuple(dict.fromkeys(operation.operation for operation in self._tariffs))

    def law(self, hbm_share: float = 1.0) -> CalibratedLaw:
        """Seconds of a batch where kernels have that share of the HBM bandwidth."""
        rates = replace(self._rates, hbm_bytes_per_s=self._rates.hbm_bytes_per_s * hbm_share * self._hbm_ratio)
        rest = RooflineLaw(self._rest, rates, self._scenario.serving.iteration_overhead)
        if hbm_share == 1.0:
            return CalibratedLaw(self._tariffs, self._kernels, rest)
        device = replace(self._bench.device, hbm_bytes_per_s=self._bench.device.hbm_bytes_per_s * hbm_share)
        bench = replace(self._bench, device=device)
        tariffs = priced_operations(self._scenario, bench)
        return CalibratedLaw(tariffs, priced_kernels(self._scenario, bench, self._classes), rest)

    def division(self, batch: BatchTotals, decodes: BatchTotals) -> Division:
        """An iteration, divided; the part of its batch is ``decodes``."""
        rates = replace(self._rates, hbm_bytes_per_s=self._rates.hbm_bytes_per_s * self._hbm_ratio)
        mine, whole, slopes = peak_division(
            self._rest, rates, self._scenario.serving.iteration_overhead, batch, decodes
        )
        mine_s, all_s, slopes = list(mine.kernels_s), list(whole.kernels_s), list(slopes)
        for kernel in self._kernels:
            at = kernel.span
            its_s, together_s, slope = kernel_shares(kernel, batch, decodes)
            mine_s[at], all_s[at] = mine_s[at] + its_s, all_s[at] + together_s
            slopes[at] = Slope(slopes[at].per_pair_s + slope.per_pair_s, slopes[at].per_touched_s + slope.per_touched_s)
        fixed_s, fixed_all_s = fixed_shares(self._tariffs, batch, decodes)
        return Division(Shares(mine.fixed_s + fixed_s, mine_s), Shares(whole.fixed_s + fixed_all_s, all_s), slopes)

    def rest_s(self, cost: OperationCost, maximum: Callable[..., Any]) -> Any:
        """What an operation that the calibration has no fit for takes, from its times at the peaks."""
        compute_s = cost.compute_s / (self._scenario.hardware.matmul_ratio or 1.0)
        return maximum(compute_s, cost.hbm_s / self._hbm_ratio) + cost.link_s

    def seconds(self, name: str, batch: BatchTotals) -> float:
        """What the operation of that name takes in one pass over the batch."""
        fixed = sum(tariff.seconds(batch) for tariff in self._tariffs if tariff.operation == name)
        return fixed + sum(kernel.at(batch, 0).seconds for kernel in self._kernels if kernel.operation == name)
