"""Time to move KV between HBM, host memory and disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctxsim.cost.host_link import way
from ctxsim.cost.topology import DISK, HBM, HOST, Fabric
from ctxsim.spec.scenario import Scenario


def host_link_bytes_per_s(
    scenario: Scenario, link_bytes_per_s: Any | None = None, minimum: Callable[..., Any] = min
) -> Any:
    """One-way rate between one replica's HBM and host memory while nothing else is copied.

    The slower way. Of the first replica: its ranks begin at a root, so none has fewer roots. A copy is striped evenly
    over the ranks, so the root with the most of them sets the rate, up to the bandwidth of host memory.
    ``link_bytes_per_s`` replaces the profile's rate (a number, or an array with ``minimum=numpy.minimum``).
    """
    fabric = Fabric.of(scenario, link_bytes_per_s)
    out, back = ((HBM, HOST), (HOST, HBM))
    return minimum(fabric.lone_bytes_per_s(0, *out, minimum), fabric.lone_bytes_per_s(0, *back, minimum))


def transfer_s(amount_bytes: Any, bytes_per_s: Any) -> Any:
    """Seconds to move an amount at a rate: bytes / bandwidth (what comes before the bytes flow: setup_s)."""
    return amount_bytes / bytes_per_s


class CopySetup:
    """What a copy takes before its bytes flow: start + latency + descriptors x overhead of each.

    Per block a rank copies the scenario's number of pieces, or one for each layer that keeps KV (a window layer's
    blocks count in full), unless the scenario says in how many pieces it copies whatever it copies. The latency is that
    of a read from disk, where the host gives one; a write ends in the drive's buffer and waits for nothing. Ranks
    submit their descriptors at the same time. Start and overhead are those of the way out of HBM or into it, see
    host_link.way. What a copy takes longer while the device computes is part of it, for it is on no link: bytes flow at
    the rate that they have alone.
    """

    def __init__(self, scenario: Scenario) -> None:
        serving = scenario.serving
        layers = scenario.model.layer_counts.items()
        kept = sum(number for layer, number in layers if layer.keeps_kv)
        self._per_block = kept if serving.copy_descriptors_per_block is None else serving.copy_descriptors_per_block
        self._per_copy = serving.copy_descriptors_per_copy
        self._ways = {
            (direction, beside): way(scenario, direction, beside)
            for direction in ("to_host", "to_device")
            for beside in (False, True)
        }
        self._disk_s = scenario.hardware.nvme_latency_s or 0.0

    def descriptors(self, blocks: int) -> int:
        """Pieces in which each rank copies that many KV blocks."""
        return self._per_copy if self._per_copy is not None and blocks else blocks * self._per_block

    def seconds(self, source: int, blocks: int, beside_bytes: float = 0.0) -> float:
        """Seconds of the set-up of a copy of that many blocks from a tier; ``beside_bytes``: the copy's bytes where the
        device computes when it sets out, else nothing."""
        direction = "to_host" if source == HBM else "to_device"
        alone, taken = self._ways[direction, False], self._ways[direction, beside_bytes > 0]
        latency_s = self._disk_s if source == DISK else 0.0
        slower_s = beside_bytes / taken.bytes_per_s - beside_bytes / alone.bytes_per_s
        return latency_s + taken.start_s + self.descriptors(blocks) * taken.descriptor_s + max(0.0, slower_s)
