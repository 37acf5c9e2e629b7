"""One run over the points of a plan: each is built, timed and let go; no fault of one ends the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from ctxsim.errors import shorten
from ctxsim.measure import attention, collectives, copies, elementwise, engine_loop, gemm, host_copies, launches, serial
from ctxsim.measure.devices import Device
from ctxsim.measure.left_out import LeftOut
from ctxsim.measure.plan import POINT_RATIO, RUNS_RATIO, Costs
from ctxsim.measure.points import Family, Point
from ctxsim.measure.quiet import Others, wait_until_quiet
from ctxsim.measure.rotation import rotation
from ctxsim.measure.rows import RowsFile, row
from ctxsim.measure.timing import RUN_S, Timing, Work, time_work

MEMORY_RATIO = 0.8
"""The share of the free memory that the operands of one point may take."""

MOST_TRIES = 3
"""How often a point is tried that other processes disturb."""

COPY_SIDES = 4
"""Memory of a copy in blocks, in sizes of what is moved, at most: source and target, with room between the blocks."""

MASK_BYTES = 6
"""Memory of one place of a causal mask on a CPU: as it is made, and as the kernel turns it into numbers."""


def _each_or(together: Callable[[Point, Device], Work]) -> Callable[[Point, Device], Work]:
    """Attention of all sequences in one call; on a CPU, where that gains nothing, of each in its own."""
    return lambda point, device: serial.attention(point, device) if device.kind == "cpu" else together(point, device)


WORK_OF: Mapping[Family, Callable[[Point, Device], Work]] = {
    "gemm": gemm.gemm, "prefill_attention": _each_or(attention.prefill),
    "decode_attention": _each_or(attention.decode), "copy": copies.copy, "all_reduce": collectives.all_reduce,
    "launch": launches.launch, "elementwise": elementwise.small_kernel,
}  # fmt: skip
"""What makes the calls of a point; the host's loop and launches have clocks of their own."""


class Run:
    """What has been spent, and by how much calls are slower than guessed; time begins when it is made.

    keep_disturbed: points that other processes disturb are kept as they are.
    """

    def __init__(
        self, costs: Costs, device: Device, file: RowsFile, left_out: LeftOut, keep_disturbed: bool = False
    ) -> None:
        self._costs, self._device, self._file, self._left_out = costs, device, file, left_out
        self._keep_disturbed = keep_disturbed
        self._slower_ratio: dict[tuple[str, str], float] = {}
        self._begins_s = time.monotonic()
        gemm.wake(device)

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begins_s

    def reaches(self, point: Point) -> bool:
        """Whether what is left of the budget suffices for the point, as far as can be told."""
        return self._cost_s(point) <= self._costs.budget_s - self.spent_s

    def take(self, point: Point) -> None:
        """A row of this point, or a word on why there is none."""
        why = self._why_not(point)
        if why:
            self._left_out.add(point, why)
            return
        try:
            with torch.inference_mode():
                timing = self._undisturbed(point)
        except (RuntimeError, TypeError, MemoryError) as error:  # out of memory, or no such kernel here
            self._left_out.add(point, f"{type(error).__name__}: {shorten(str(error).partition(chr(10))[0])}")
            return
        finally:
            if self._device.kind == "cuda":
                torch.cuda.empty_cache()
        if timing is None:
            self._left_out.add(point, "other processes kept the processor busy; stop them, or measure later")
            return
        self._learn(point, timing.seconds)
        self._file.add(row(point, timing.seconds, timing.iqr_s, timing.n_runs))

    def _undisturbed(self, point: Point) -> Timing | None:
        """The point's time; on a CPU of a try in which other processes did next to nothing, None after too many."""
        limit_s = self._costs.budget_s * RUNS_RATIO
        if self._device.kind != "cpu" or self._keep_disturbed:
            return timed(point, self._device, limit_s)
        for _ in range(MOST_TRIES):
            others = Others()
            timing = timed(point, self._device, limit_s)
            if not others.disturb():
                return timing
            wait_until_quiet(self._costs.budget_s * POINT_RATIO)
        return None

    def _learn(self, point: Point, seconds: float) -> None:
        """By how much calls of its kind are slower than guessed; short ones tell nothing of long ones."""
        guessed_s = self._costs.guess.call_s(point)
        if max(guessed_s, seconds) > RUN_S:
            self._slower_ratio[point.family, point.dtype] = seconds / max(guessed_s, RUN_S)

    def _cost_s(self, point: Point) -> float:
        return self._costs.of(point, self._slower_ratio.get((point.family, point.dtype), 1.0))

    def _why_not(self, point: Point) -> str:
        """Why the point is not even tried, or nothing."""
        if self._cost_s(point) > 2 * POINT_RATIO * self._costs.budget_s:
            return "it would take too much of the budget, by the last of its kind"
        if needed_bytes(point, self._device) > MEMORY_RATIO * self._device.free_bytes():
            return "its operands do not fit into the memory that is free"
        return ""


def timed(point: Point, device: Device, limit_s: float) -> Timing:
    """The time of one call of the point."""
    if point.family == "copy" and device.kind == "cpu":
        return host_copies.timing(point, device)
    if point.family == "host":
        return engine_loop.host_timing(point, device)
    if point.family == "launch" and point.direction != "device":
        return launches.host_timing(point, device)
    return time_work(WORK_OF[point.family](point, device), device.kind, limit_s)


def needed_bytes(point: Point, device: Device) -> float:
    """Memory of all operands that are taken in turn, and of the mask."""
    operands = point.touched_bytes * rotation(point.touched_bytes, device.cache_bytes)
    if point.family == "copy":
        operands *= COPY_SIDES
    masked = device.kind == "cpu" and point.past_tokens and point.new_tokens > 1
    return operands + (MASK_BYTES * point.new_tokens * point.total_tokens if masked else 0)
