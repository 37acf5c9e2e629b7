"""The device that is measured: what torch and the system say of it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import ctxsim
from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.measure.plan import Subject
from ctxsim.units import parse

KINDS = ("cuda", "cpu")

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNKNOWN_CACHE = "64 MiB"
"""Taken where the system does not tell: larger than most, which only costs memory."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its kind ("cuda" or "cpu"), name, driver, last-level cache, and how many of them there are.

    units: multiprocessors, of a CPU the threads that compute.
    """

    kind: str
    name: str
    driver: str
    cache_bytes: int
    accelerators: int
    threads: int
    units: int

    @property
    def torch(self) -> torch.device:
        """The device as torch has it."""
        return torch.device(self.kind)

    @property
    def subject(self) -> Subject:
        """What the plan has to know of it."""
        return Subject(self.kind, self.accelerators, self.cache_bytes, self.threads)

    def free_bytes(self) -> float:
        """Memory that is free now."""
        if self.kind == "cuda":
            return float(torch.cuda.mem_get_info()[0])
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))

    def meta(self) -> dict[str, Any]:
        """The device and the software, as a file of measurements says them; ``load``: busy processes before it."""
        return {
            "device": self.name,
            "kind": self.kind,
            "accelerators": self.accelerators,
            "driver": self.driver,
            "cache_bytes": self.cache_bytes,
            "memory_bytes": _memory_bytes(self.kind),
            "threads": self.threads,
            "compute_units": self.units,
            "load": os.getloadavg()[0],
            "torch": str(torch.__version__),
            "cuda": str(torch.version.cuda or ""),
            "python": platform.python_version(),
            "ctxsim": ctxsim.__version__,
        }


def device_of(kind: str) -> Device:
    """The device of that kind; raises SpecError where it is unknown or torch finds none."""
    if kind not in KINDS:
        raise _refused(f'expected cuda or cpu, found "{shorten(kind)}"{nearest(kind, KINDS)}')
    threads = torch.get_num_threads()
    if kind == "cpu":
        return Device(kind, _cpu_name(), "", _cpu_cache_bytes(), 1, threads, threads)
    if not torch.cuda.is_available():
        raise _refused(f"expected a CUDA device, found none that torch {torch.__version__} sees; take cpu")
    properties = torch.cuda.get_device_properties(0)
    cache = int(properties.L2_cache_size)
    units = int(properties.multi_processor_count)
    return Device(kind, properties.name, _driver(), cache, torch.cuda.device_count(), threads, units)


def _refused(message: str) -> SpecError:
    return SpecError(Fault("", None, None, "device", message))


def _memory_bytes(kind: str) -> int:
    if kind == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cpu_name() -> str:
    """The processor's own name where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _cpu_cache_bytes() -> int:
    """The largest cache that the first core has: ``size`` says "32768K"."""
    sizes = [path.read_text(encoding="utf-8").strip() for path in sorted(_CACHES.glob("index*/size"))]
    found = [parse(f"{size[:-1]} {size[-1]}iB", "bytes") for size in sizes if re.fullmatch(r"\d+[KMG]", size)]
    return int(max(found, default=parse(_UNKNOWN_CACHE, "bytes")))


def _driver() -> str:
    """The driver's version, or nothing where its own tool does not say."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.splitlines()[0].strip() if said.stdout else ""
