"""A first guess of how long a point takes: a roofline of round numbers, used to plan and never recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ctxsim.measure.points import Point
from ctxsim.units import parse


@dataclass(frozen=True, slots=True)
class Guess:
    """Round rates of one kind of device; ``fill_bytes_per_s``: how fast operands are made, there and on the host."""

    flop_per_s: Mapping[str, float]
    memory_bytes_per_s: float
    link_bytes_per_s: float
    fill_bytes_per_s: float
    host_fill_bytes_per_s: float
    launch_s: float

    def call_s(self, point: Point) -> float:
        """One call: the longer of computing and moving, and a launch for every piece."""
        compute_s = point.flop / self.flop_per_s[point.dtype] if point.flop else 0.0
        over_link = _over_host_link(point) or point.family == "all_reduce"
        moving_s = point.touched_bytes / (self.link_bytes_per_s if over_link else self.memory_bytes_per_s)
        return max(compute_s, moving_s) + self.launch_s * max(1, point.descriptors)

    def making_s(self, point: Point) -> float:
        """Making one set of operands."""
        rate = self.host_fill_bytes_per_s if _over_host_link(point) else self.fill_bytes_per_s
        return point.touched_bytes / rate + self.launch_s * point.descriptors


def guess_of(kind: str, threads: int) -> Guess:
    """The guess for a kind of device: "cuda", or "cpu" with that many threads."""
    if kind == "cuda":
        return Guess(
            {dtype: parse(rate, "flop_per_s") for dtype, rate in _CUDA_RATES.items()},
            parse("2 TB/s", "bytes_per_s"),
            parse("20 GB/s", "bytes_per_s"),
            parse("500 GB/s", "bytes_per_s"),
            parse("2 GB/s", "bytes_per_s"),
            parse("5 us", "seconds"),
        )
    return Guess(
        {dtype: threads * parse(rate, "flop_per_s") for dtype, rate in _CPU_RATES.items()},
        parse("5 GB/s", "bytes_per_s"),
        parse("5 GB/s", "bytes_per_s"),
        parse("500 MB/s", "bytes_per_s"),
        parse("500 MB/s", "bytes_per_s"),
        parse("5 us", "seconds"),
    )


def _over_host_link(point: Point) -> bool:
    return point.direction not in ("", "device")


_CUDA_RATES = {"bf16": "300 TFLOP/s", "fp16": "300 TFLOP/s", "fp8": "600 TFLOP/s", "fp32": "30 TFLOP/s"}
_CPU_RATES = {"bf16": "10 GFLOP/s", "fp16": "10 GFLOP/s", "fp32": "40 GFLOP/s"}
