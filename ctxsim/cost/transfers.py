"""Time to move KV between HBM, host memory and disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctxsim.cost.topology import DISK, HBM, HOST, Fabric
from ctxsim.spec.model import StateMixer
from ctxsim.spec.scenario import Scenario


def host_link_bytes_per_s(
    scenario: Scenario, link_bytes_per_s: Any | None = None, minimum: Callable[..., Any] = min
) -> Any:
    """One-way rate between one replica's HBM and host memory while nothing else is copied.

    Of the first replica: its ranks begin at a root, so none has fewer roots. A copy is striped evenly over the ranks,
    so the root with the most of them sets the rate, up to the bandwidth of host memory. ``link_bytes_per_s`` replaces
    the profile's rate (a number, or an array with ``minimum=numpy.minimum``).
    """
    return Fabric.of(scenario, link_bytes_per_s).lone_bytes_per_s(0, HBM, HOST, minimum)


def transfer_s(amount_bytes: Any, bytes_per_s: Any) -> Any:
    """Seconds to move an amount at a rate: bytes / bandwidth (what comes before the bytes flow: setup_s)."""
    return amount_bytes / bytes_per_s


class CopySetup:
    """What a copy takes before its bytes flow: latency + descriptors x overhead of each.

    Per block a rank copies the scenario's number of pieces, or one for each layer that keeps KV (a window layer's
    blocks count in full). The latency is that of a read from disk, where the host gives one; a write ends in the
    drive's buffer and waits for nothing. Ranks submit their descriptors at the same time. What a descriptor takes is
    the scenario's number, else at fidelity calibrated the profile's, else nothing.
    """

    def __init__(self, scenario: Scenario) -> None:
        serving = scenario.serving
        layers = scenario.model.layer_counts.items()
        kept = sum(number for layer, number in layers if not isinstance(layer.mixer, StateMixer))
        self._per_block = kept if serving.copy_descriptors_per_block is None else serving.copy_descriptors_per_block
        self._overhead_s = _descriptor_s(scenario)
        self._disk_s = scenario.hardware.nvme_latency_s or 0.0

    def descriptors(self, blocks: int) -> int:
        """Pieces in which each rank copies that many KV blocks."""
        return blocks * self._per_block

    def seconds(self, source: int, blocks: int) -> float:
        """Seconds of the set-up of a copy of that many blocks from a tier."""
        return (self._disk_s if source == DISK else 0.0) + self.descriptors(blocks) * self._overhead_s


def _descriptor_s(scenario: Scenario) -> float:
    given = scenario.serving.copy_descriptor_overhead
    if given is None and scenario.fidelity == "calibrated":
        given = scenario.hardware.host_link_descriptor_s
    return given or 0.0
