"""Time to move KV between HBM and host memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctxsim.spec.scenario import Scenario


def host_link_bytes_per_s(
    scenario: Scenario, link_bytes_per_s: Any | None = None, minimum: Callable[..., Any] = min
) -> Any:
    """One-way rate between one replica's HBM and host memory.

    A root link serves ``shared_by`` accelerators, so a tensor-parallel group of g drives ceil(g / shared_by) roots,
    up to the bandwidth of host memory. ``link_bytes_per_s`` replaces the profile's rate (a number, or an array with
    ``minimum=numpy.minimum``).
    """
    hardware = scenario.hardware
    roots = -(-scenario.deployment.tensor_parallel // hardware.host_link_shared_by)
    link = hardware.host_link_bytes_per_s if link_bytes_per_s is None else link_bytes_per_s
    return minimum(roots * link, hardware.host_memory_bytes_per_s)


def transfer_s(amount_bytes: Any, bytes_per_s: Any) -> Any:
    """Seconds to move an amount at a rate: bytes / bandwidth (fidelity peak: no cost per descriptor)."""
    return amount_bytes / bytes_per_s
