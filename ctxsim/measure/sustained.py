"""How much slower a CPU is that goes on computing: what kernels show that are timed one by one is not reached.

On one virtual machine passes of eight sequences took 31 ms for six seconds, and 36 to 39 from then on. Its clock cannot
be read, so whether that falls or memory slows is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.measure.devices import Device
from ctxsim.measure.passes import CHUNK_TOKENS, CONTEXT_TOKENS, SEQUENCES, Passes
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

LOAD_S = parse("16 s", "seconds")
COUNTED_S = parse("6 s", "seconds")
"""At the end of the load."""


def sustained_ratio(scenario: Scenario, device: Device) -> float:
    """Seconds of another model's passes under load over what the scenario's calibration says of them.

    The mean of two medians: of passes that decode, and of those over chunks of prompts.
    """
    passes = Passes(device, scenario.serving.weight_dtype)
    cost = CostModel(replace(scenario, model=passes.spec))
    decode_s = {n: float(cost.pass_s(cost.batch(1, CONTEXT_TOKENS - 1, sequences=n))) for n in SEQUENCES}
    chunk_s = float(cost.pass_s(cost.batch(CHUNK_TOKENS, 0)))
    decodes: list[float] = []
    chunks: list[float] = []
    begin_s = time.perf_counter()
    while (since_s := time.perf_counter() - begin_s) < LOAD_S:
        found = [_decoded(passes, decode_s) for _ in SEQUENCES], _timed_s(passes.chunk) / chunk_s
        if since_s >= LOAD_S - COUNTED_S:
            decodes += found[0]
            chunks.append(found[1])
    return float(np.mean([np.median(decodes), np.median(chunks)]))


def _decoded(passes: Passes, expected_s: Mapping[int, float]) -> float:
    start_s = time.perf_counter()
    sequences = passes.one()
    return (time.perf_counter() - start_s) / expected_s[sequences]


def _timed_s(call: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s
