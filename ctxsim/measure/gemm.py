"""Matrix products of linear layers: (m x k) activations times the transpose of (n x k) weights."""

from __future__ import annotations

import time

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import Point
from ctxsim.measure.timing import Call, Work

WAKE_S = 1.0
WAKE_WIDTH = 512


def gemm(point: Point, device: Device) -> Work:
    """Products on operands taken in turn; ``fp8`` with one scale an operand, fast sums, and results in bf16."""
    one = _scaled_product if point.dtype == "fp8" else _product
    return Work(in_turn(lambda: one(point, device.torch), point.touched_bytes, device.cache_bytes))


def wake(device: Device) -> None:
    """Multiplies until the device has had time to leave its idle clock."""
    point = Point("gemm", "fp32", m=WAKE_WIDTH, n=WAKE_WIDTH, k=WAKE_WIDTH)
    call = _product(point, device.torch)
    ends_s = time.perf_counter() + WAKE_S
    while time.perf_counter() < ends_s:
        call()
        if device.kind == "cuda":
            torch.cuda.synchronize()


def _product(point: Point, device: torch.device) -> Call:
    tokens, weights = _operands(point, device)
    out = torch.empty(point.m, point.n, dtype=tokens.dtype, device=device)
    return lambda: torch.mm(tokens, weights.t(), out=out)


def _scaled_product(point: Point, device: torch.device) -> Call:
    tokens, weights = _operands(point, device)
    scale = torch.ones((), device=device)

    def product() -> torch.Tensor:
        out: torch.Tensor = torch._scaled_mm(
            tokens, weights.t(), scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16, use_fast_accum=True
        )
        return out

    return product


def _operands(point: Point, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = noise((point.m, point.k), point.dtype, device)
    return tokens, noise((point.n, point.k), point.dtype, device)
