"""The peaks of a device that the forms turn into rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator: dense peaks by number format, HBM, units (SM, CU), on-chip cache and scale-up link, one way."""

    peak_flop_per_s: tuple[tuple[str, float], ...]
    hbm_bytes_per_s: float
    compute_units: int
    on_chip_cache_bytes: float
    link_bytes_per_s: float | None

    @classmethod
    def of(cls, hardware: Hardware) -> Self:
        """The peaks of a profile."""
        return cls(
            peak_flop_per_s=hardware.peaks_flop_per_s,
            hbm_bytes_per_s=hardware.hbm_bytes_per_s,
            compute_units=hardware.compute_units,
            on_chip_cache_bytes=hardware.on_chip_cache_bytes,
            link_bytes_per_s=hardware.scale_up_bytes_per_s,
        )

    def peak(self, dtype: str) -> float:
        """FLOP/s in that number format; raises SpecError where the device has no such rate."""
        for name, flop_per_s in self.peak_flop_per_s:
            if name == dtype:
                return flop_per_s
        known = ", ".join(name for name, _ in self.peak_flop_per_s)
        message = f"expected one of the device's number formats ({known}), found {dtype}; take one of these"
        raise SpecError(Fault("", None, None, "dtype", message))

    def link(self) -> float:
        """Bytes/s of the scale-up link, one way; raises SpecError where the device has none."""
        if self.link_bytes_per_s is None:
            message = "expected a device with a scale-up link, found none; take one accelerator, or give the link"
            raise SpecError(Fault("", None, None, "link_bytes_per_s", message))
        return self.link_bytes_per_s
