"""What prices come from: a device and its calibration."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Bench:
    """A device, the shares of whose peaks the calibration's coefficients are."""

    device: Device
    calibration: Calibration
