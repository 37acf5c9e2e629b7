"""The files of a machine: an accelerator profile and a host block, every number beside its source.

A machine is two files: ``hardware_profiles/NAME.yaml`` (accelerator, scale-up link, host link, price) and the
host block it names, ``hardware_profiles/hosts/NAME.yaml``, so that any host goes with any accelerator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, model_validator

from ctxsim.errors import SpecError, nearest
from ctxsim.spec.catalog import find
from ctxsim.spec.document import Document, Loc, read_document
from ctxsim.spec.quantity import Bytes, BytesPerS, FlopPerS, Seconds, UsdPerByteS, UsdPerJoule, UsdPerS, Watts
from ctxsim.spec.validation import FieldError, Spec, shown, validate

T = TypeVar("T")

_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", re.ASCII)
_KEY = re.compile(r"[\w-]+")


def _date(text: str) -> str:
    if _DATE.fullmatch(text) is None:
        raise ValueError(f"expected a date, a month or a year, found {shown(text)}; write e.g. 2026-08-17")
    return text


Count = Annotated[int, Field(gt=0)]
"""How many there are of a thing: one or more."""

Ratio = Annotated[float, Field(gt=0, le=1)]
"""A share of a peak that was reached: above zero, at most one."""

Size = Annotated[Bytes, Field(gt=0)]
"""An amount of bytes above zero."""

Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""

Date = Annotated[str, AfterValidator(_date)]
"""The day a price was seen, or the month or year where no more is known."""


class Sourced(Spec, Generic[T]):
    """A number and where it comes from.

    ``source``: a key of the file's ``sources`` (one word), or the source itself. ``note``: what a reader must know.
    """

    value: T
    source: Text
    note: str = ""


class Peaks(Spec):
    """Dense peak arithmetic by number format; a format that the device cannot multiply in is left out."""

    bf16: Sourced[FlopPerS]
    fp32: Sourced[FlopPerS] | None = None
    fp8: Sourced[FlopPerS] | None = None
    int8: Sourced[FlopPerS] | None = None
    fp4: Sourced[FlopPerS] | None = None


class Accelerator(Spec):
    """One device: arithmetic, memory, and how much of both there is.

    ``hbm_bytes`` is what the driver lets a program have, ``hbm_nominal_bytes`` the label; ``compute_units`` are
    streaming multiprocessors (NVIDIA), compute units (AMD) or tensor cores (TPU).
    """

    peak_flop_per_s: Peaks
    hbm_bytes: Sourced[Size]
    hbm_nominal_bytes: Sourced[Size]
    hbm_bytes_per_s: Sourced[BytesPerS]
    on_chip_cache_bytes: Sourced[Size]
    compute_units: Sourced[Count]
    power_w: Sourced[Watts]

    @model_validator(mode="after")
    def _visible_within_label(self) -> Self:
        if self.hbm_bytes.value > self.hbm_nominal_bytes.value:
            raise FieldError(
                "hbm_bytes",
                "expected at most the nominal memory, found more visible bytes than hbm_nominal_bytes; "
                "check GB (1e9 bytes) against GiB (2**30 bytes)",
            )
        return self


class ScaleUp(Spec):
    """The link that tensor parallelism sums over: one way, per accelerator; ``free`` costs no time at all."""

    kind: Literal["nvlink", "xgmi", "ici", "pcie", "free"]
    bytes_per_s: Sourced[BytesPerS] | None = None
    max_accelerators: Sourced[Count]

    @model_validator(mode="after")
    def _free_or_rated(self) -> Self:
        if self.kind == "free" and self.bytes_per_s is not None:
            raise FieldError("bytes_per_s", "expected no rate beside kind free, found one; remove it or name the kind")
        if self.kind != "free" and self.bytes_per_s is None:
            raise FieldError(
                "bytes_per_s", f"expected a rate beside kind {self.kind}, found nothing; write e.g. 300 GB/s"
            )
        return self


class ScaleOut(Spec):
    """The network between the domains that scale-up links join: one way, per accelerator, through a NIC of its own.

    ``latency_s``: what each step of a collective takes beside its bytes, or null where it is not known.
    """

    kind: Text
    bytes_per_s: Sourced[BytesPerS]
    latency_s: Sourced[Seconds] | None = None


class HostLink(Spec):
    """The way between accelerator and host memory: one way, per root.

    ``shared_by`` neighbouring accelerators hang on one root and divide its rate. ``effective_bytes_per_s`` is what
    large copies were measured to reach, ``descriptor_s`` what each piece of a copy was measured to take beside its
    bytes, or null; neither is used at fidelity ``peak``.
    """

    kind: Text
    bytes_per_s: Sourced[BytesPerS]
    effective_bytes_per_s: Sourced[BytesPerS] | None = None
    descriptor_s: Sourced[Seconds] | None = None
    shared_by: Sourced[Count]

    @model_validator(mode="after")
    def _effective_within_peak(self) -> Self:
        if self.effective_bytes_per_s is not None and self.effective_bytes_per_s.value > self.bytes_per_s.value:
            raise FieldError(
                "effective_bytes_per_s",
                "expected at most the datasheet rate, found a faster measured one; "
                "check that both are one way, and GB/s against Gb/s",
            )
        return self


class DecodeReads(Spec):
    """How fast attention reads KV in decode: one work item on a unit of its own, and all of them together at most."""

    worker_bytes_per_s: Sourced[BytesPerS]
    hbm_ratio: Sourced[Ratio]


class Efficiency(Spec):
    """Measured shares of the peaks, kept apart from them; not used at fidelity ``peak``.

    ``decode_attention``: used wherever a scenario chooses the kernel (serving.decode_attention).
    """

    matmul_ratio: Sourced[Ratio] | None = None
    hbm_ratio: Sourced[Ratio] | None = None
    decode_attention: DecodeReads | None = None


class AcceleratorPrice(Spec):
    """What one accelerator costs to rent, its share of the host included, and when that was so."""

    accelerator: Sourced[UsdPerS]
    date: Date


class HardwareFile(Spec):
    """A file of ``hardware_profiles/``: an accelerator, its links, its price, and the name of its usual host.

    ``scale_out``: where it is not known, no replica is larger than what the scale-up link joins. ``calibration``: what
    fidelity ``calibrated`` uses, of this device or, as a guess, of another one of the same architecture.
    """

    name: Text
    description: Text
    vendor: Text
    architecture: Text
    form: Text
    sources: dict[str, Text]
    accelerator: Accelerator
    scale_up: ScaleUp
    scale_out: ScaleOut | None = None
    host_link: HostLink
    host: Text
    efficiency: Efficiency = Efficiency()
    calibration: Text | None = None
    price: AcceleratorPrice

    @model_validator(mode="after")
    def _scale_out_within_scale_up(self) -> Self:
        within = self.scale_up.bytes_per_s
        if self.scale_out is not None and within is not None and self.scale_out.bytes_per_s.value > within.value:
            raise FieldError(
                "scale_out",
                "expected at most the rate of scale_up, found a network that is faster; "
                "check that both are one way and of one accelerator, and GB/s against Gb/s",
            )
        return self


class HostMemory(Spec):
    """The memory of one node: ``channels`` and ``bytes_per_s`` of one socket, ``capacity_bytes`` of all together."""

    kind: Text
    sockets: Sourced[Count]
    channels: Sourced[Count]
    capacity_bytes: Sourced[Size]
    bytes_per_s: Sourced[BytesPerS]


class Nvme(Spec):
    """The local drives of one node; capacity, rates and latency are those of one drive.

    ``latency_s``: from the request for a read until its bytes flow, or null where it is not known.
    """

    drives: Sourced[Count]
    capacity_bytes: Sourced[Size]
    read_bytes_per_s: Sourced[BytesPerS]
    write_bytes_per_s: Sourced[BytesPerS]
    latency_s: Sourced[Seconds] | None = None


class HostPrice(Spec):
    """What memory, disk and energy cost where they are counted apart from the accelerator, and when that was so."""

    host_memory: Sourced[UsdPerByteS]
    disk: Sourced[UsdPerByteS]
    energy: Sourced[UsdPerJoule]
    date: Date


class HostFile(Spec):
    """A file of ``hardware_profiles/hosts/``: memory, drives and prices of a node, for any accelerator."""

    name: Text
    description: Text
    sources: dict[str, Text]
    memory: HostMemory
    nvme: Nvme
    price: HostPrice


def read_profile(name_or_path: str) -> tuple[HardwareFile, Document]:
    """The profile as its file has it, with sources and notes, and the document it was read from.

    Raises SpecError with all faults of the file.
    """
    document = read_document(find("hardware", name_or_path))
    profile = validate(HardwareFile, document)
    _check_sources(profile, profile.sources, document)
    return profile, document


def read_host(name_or_path: str) -> HostFile:
    """The host block as its file has it, with sources and notes; raises SpecError with all faults of the file."""
    document = read_document(find("host", name_or_path))
    block = validate(HostFile, document)
    _check_sources(block, block.sources, document)
    return block


def sourced_values(model: BaseModel, loc: Loc = ()) -> Iterator[tuple[Loc, Sourced[object]]]:
    """Every sourced number of a profile or host block, with the way to it, in the order of the fields."""
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, Sourced):
            yield (*loc, field), value
        elif isinstance(value, BaseModel):
            yield from sourced_values(value, (*loc, field))


def _check_sources(model: BaseModel, sources: Mapping[str, str], document: Document) -> None:
    """Raises SpecError where a value cites a key that is not in ``sources``, or a source is cited nowhere."""
    cited = list(sourced_values(model))
    faults = [
        document.fault(
            (*loc, "source"),
            f'expected a key of sources or the source in words, found "{value.source}"{nearest(value.source, sources)}',
        )
        for loc, value in cited
        if _KEY.fullmatch(value.source) and value.source not in sources
    ]
    unused = set(sources) - {value.source for _, value in cited}
    message = "expected a source that some value cites, found one that none does; remove it or cite it"
    faults += [document.fault(("sources", key), message, at_key=True) for key in sources if key in unused]
    if faults:
        raise SpecError(*faults)
