"""Machines as the layers above use them: an accelerator in its host, as plain numbers in SI units."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.document import Document
from ctxsim.spec.hardware_file import HardwareFile, HostFile, Peaks, Sourced, read_host, read_profile


@dataclass(frozen=True, slots=True)
class Hardware:
    """An accelerator in its host as the layers above use it: plain numbers in SI units, hashable.

    ``peaks_flop_per_s``: (number format, rate) pairs. ``scale_up_bytes_per_s``: None where collectives are free.
    ``scale_out_*``: see `ScaleOut`. ``decode_*``: see `DecodeReads`. ``host_link_*``, one way: see `HostLink`.
    ``host_memory_*`` and ``nvme_*``: of the whole node. None: not known.
    """

    name: str
    architecture: str
    peaks_flop_per_s: tuple[tuple[str, float], ...]
    hbm_bytes: float
    hbm_nominal_bytes: float
    hbm_bytes_per_s: float
    on_chip_cache_bytes: float
    compute_units: int
    power_w: float
    scale_up_kind: str
    scale_up_bytes_per_s: float | None
    max_accelerators: int
    scale_out_kind: str | None
    scale_out_bytes_per_s: float | None
    scale_out_latency_s: float | None
    host_link_kind: str
    host_link_bytes_per_s: float
    host_link_effective_bytes_per_s: float | None
    host_link_descriptor_s: float | None
    host_link_shared_by: int
    matmul_ratio: float | None
    hbm_ratio: float | None
    decode_worker_bytes_per_s: float | None
    decode_hbm_ratio: float | None
    host_name: str
    host_memory_bytes: float
    host_memory_bytes_per_s: float
    nvme_bytes: float
    nvme_read_bytes_per_s: float
    nvme_write_bytes_per_s: float
    nvme_latency_s: float | None
    accelerator_usd_per_s: float
    host_memory_usd_per_byte_s: float
    disk_usd_per_byte_s: float
    energy_usd_per_j: float
    price_date: str
    calibration: str | None

    def peak_flop_per_s(self, dtype: str) -> float | None:
        """The dense peak in that number format, or None where the device has no such rate."""
        return dict(self.peaks_flop_per_s).get(dtype)


def load_hardware(name_or_path: str, host: str | None = None) -> Hardware:
    """The machine of that name or file, in its usual host or in the one named.

    Raises SpecError with the faults of the profile, or of the host where the profile has none.
    """
    profile, document = read_profile(name_or_path)
    try:
        block = read_host(host or profile.host)
    except SpecError as error:
        # A host that the profile names wrongly is a fault of the profile, at its line.
        raise error if host else _at_host_key(error, document) from None
    return combine(profile, block)


def combine(profile: HardwareFile, host: HostFile) -> Hardware:
    """The accelerator in that host, as plain numbers."""
    accelerator, scale_up, link, efficiency = (
        profile.accelerator,
        profile.scale_up,
        profile.host_link,
        profile.efficiency,
    )
    decode, scale_out = efficiency.decode_attention, profile.scale_out
    peaks = ((dtype, getattr(accelerator.peak_flop_per_s, dtype)) for dtype in Peaks.model_fields)
    return Hardware(
        name=profile.name,
        architecture=profile.architecture,
        peaks_flop_per_s=tuple((dtype, peak.value) for dtype, peak in peaks if peak is not None),
        hbm_bytes=accelerator.hbm_bytes.value,
        hbm_nominal_bytes=accelerator.hbm_nominal_bytes.value,
        hbm_bytes_per_s=accelerator.hbm_bytes_per_s.value,
        on_chip_cache_bytes=accelerator.on_chip_cache_bytes.value,
        compute_units=accelerator.compute_units.value,
        power_w=accelerator.power_w.value,
        scale_up_kind=scale_up.kind,
        scale_up_bytes_per_s=_value(scale_up.bytes_per_s),
        max_accelerators=scale_up.max_accelerators.value,
        scale_out_kind=None if scale_out is None else scale_out.kind,
        scale_out_bytes_per_s=None if scale_out is None else scale_out.bytes_per_s.value,
        scale_out_latency_s=None if scale_out is None else _value(scale_out.latency_s),
        host_link_kind=link.kind,
        host_link_bytes_per_s=link.bytes_per_s.value,
        host_link_effective_bytes_per_s=_value(link.effective_bytes_per_s),
        host_link_descriptor_s=_value(link.descriptor_s),
        host_link_shared_by=link.shared_by.value,
        matmul_ratio=_value(efficiency.matmul_ratio),
        hbm_ratio=_value(efficiency.hbm_ratio),
        decode_worker_bytes_per_s=None if decode is None else decode.worker_bytes_per_s.value,
        decode_hbm_ratio=None if decode is None else decode.hbm_ratio.value,
        host_name=host.name,
        host_memory_bytes=host.memory.capacity_bytes.value,
        host_memory_bytes_per_s=host.memory.sockets.value * host.memory.bytes_per_s.value,
        nvme_bytes=host.nvme.drives.value * host.nvme.capacity_bytes.value,
        nvme_read_bytes_per_s=host.nvme.drives.value * host.nvme.read_bytes_per_s.value,
        nvme_write_bytes_per_s=host.nvme.drives.value * host.nvme.write_bytes_per_s.value,
        nvme_latency_s=_value(host.nvme.latency_s),
        accelerator_usd_per_s=profile.price.accelerator.value,
        host_memory_usd_per_byte_s=host.price.host_memory.value,
        disk_usd_per_byte_s=host.price.disk.value,
        energy_usd_per_j=host.price.energy.value,
        price_date=profile.price.date,
        calibration=profile.calibration,
    )


def _value(sourced: Sourced[float] | None) -> float | None:
    return None if sourced is None else sourced.value


def _at_host_key(error: SpecError, document: Document) -> SpecError:
    """The faults with those that name no file moved to the profile's ``host`` key."""

    def placed(fault: Fault) -> Fault:
        return fault if fault.path else document.fault(("host",), fault.message)

    return SpecError(*(placed(fault) for fault in error.faults))
