"""The way between HBM and host memory as copies find it: its rate each way, and what comes before the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ctxsim.spec.scenario import Scenario

Direction = Literal["to_host", "to_device"]


BESIDE = "-beside-gemm"
"""What the variants of fits of copies beside products end in."""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a root: seconds = start_s + descriptors x descriptor_s + bytes / bytes_per_s."""

    bytes_per_s: float
    start_s: float
    descriptor_s: float

    def seconds(self, moved_bytes: float, descriptors: int) -> float:
        """Of a copy that has the way to itself."""
        return self.start_s + descriptors * self.descriptor_s + moved_bytes / self.bytes_per_s


def way(scenario: Scenario, direction: Direction, beside: bool = False) -> Way:
    """What copies take that way, from page-locked memory where that makes a difference.

    beside: while the device computes, where that was measured; else as when it does nothing.

    At fidelity peak the datasheet's rate and nothing else. At calibrated: the calibration's fit of copies that way;
    where there is none, what the profile says of large copies and of descriptors, as far as it does. What the scenario
    says of a descriptor (serving.copy_descriptor_overhead) goes before both.
    """
    found = _way(scenario, direction, beside)
    given = scenario.serving.copy_descriptor_overhead
    return found if given is None else Way(found.bytes_per_s, found.start_s, given)


def _way(scenario: Scenario, direction: Direction, beside: bool) -> Way:
    hardware = scenario.hardware
    link_bytes_per_s = hardware.host_link_bytes_per_s
    if scenario.calibration is None:
        return Way(link_bytes_per_s, 0.0, 0.0)
    alone = scenario.calibration.fit("copy", direction)
    fit = (scenario.calibration.fit("copy", f"{direction}{BESIDE}") if beside else None) or alone
    if fit is None:
        reached_bytes_per_s = hardware.host_link_effective_bytes_per_s or link_bytes_per_s
        return Way(reached_bytes_per_s, 0.0, hardware.host_link_descriptor_s or 0.0)
    rate_bytes_per_s = fit["ratio"] * link_bytes_per_s / fit.scale
    return Way(rate_bytes_per_s, fit.scale * fit["start_s"], fit.scale * fit["descriptor_s"])
