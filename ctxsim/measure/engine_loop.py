"""What the torch engine's loop takes beside its kernels: iterations of a model too small to compute anything.

A model of one layer is served, and one of two; twice the first time less the second is an iteration without layers.
What layers take is in the times of their kernels, launches included. The launches of embedding, last norm, head and
choice of a token are in both, some microseconds of an iteration.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctxsim.measure.devices import Device
from ctxsim.measure.points import Point
from ctxsim.measure.serving import serve
from ctxsim.measure.small_decoder import small_decoder
from ctxsim.measure.timing import Timing, timing_of
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.scenario import Scenario, load_scenario

ITERATIONS = 64
"""Iterations in which all sequences decode, of each model."""

PROMPT_TOKENS = 4


def host_timing(point: Point, device: Device) -> Timing:
    """The loop's time of one iteration in which ``batch`` sequences decode; RuntimeError where it cannot be told."""
    one, two = (_iteration_s(point.batch, layers, device) for layers in (1, 2))
    rest, deeper = timing_of(one), timing_of(two)
    if 2 * rest.seconds <= deeper.seconds:
        raise RuntimeError("two layers took twice as long as one: others were at work, or the loop takes nothing")
    return Timing(2 * rest.seconds - deeper.seconds, 2 * rest.iqr_s + deeper.iqr_s, rest.n_runs)


def _iteration_s(sequences: int, layers: int, device: Device) -> list[float]:
    """Seconds from the beginning of one iteration to that of the next, while all sequences decode."""
    tables = serve(_scenario(sequences, _model(layers)), device.kind, "bf16").tables
    runs = tables["runs"].table().frame()
    full = (runs["decode_tokens"] == sequences).to_numpy()
    begins_s = runs["start_s"].to_numpy()
    return [float(s) for s in np.diff(begins_s)[full[:-1] & full[1:]]]


def _scenario(sequences: int, model: ModelSpec) -> Scenario:
    """So many requests at once, each of a few tokens."""
    tokens = PROMPT_TOKENS + ITERATIONS + 1
    served = {
        "serving.max_num_seqs": sequences,
        "serving.max_num_batched_tokens": sequences * PROMPT_TOKENS,
        "serving.max_model_len": tokens,
        "serving.num_gpu_blocks_override": sequences * tokens,
        "workload.prompt_tokens": PROMPT_TOKENS,
        "workload.output_tokens": ITERATIONS + 1,
        "workload.arrival": {"kind": "closed", "users": sequences, "think_time": "0 s"},
        "workload.num_requests": sequences,
    }
    return replace(load_scenario("llama-8b-chat", served), model=model)


def _model(layers: int) -> ModelSpec:
    """One head, and widths that leave nothing to compute."""
    return small_decoder(hidden=64, mlp=64, layers=layers, heads=(1, 1), words=64)
