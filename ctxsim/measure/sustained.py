"""How much slower a CPU is that goes on computing: what kernels show that are timed one by one is not reached.

On one virtual machine passes of eight sequences took 31 ms for six seconds, and 36 to 39 from then on; after a minute
of mixed passes those of four and eight had become a tenth slower, those of one to three a twentieth. Its clock cannot
be read, so whether that falls or memory slows is not known. Passes that decode wait for memory and those over chunks of
prompts compute, so each are told apart; and copies beside them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.measure.copy_threads import copy_threads
from ctxsim.measure.devices import Device
from ctxsim.measure.mix import decoding_shares
from ctxsim.measure.passes import CHUNK_TOKENS, Passes
from ctxsim.measure.serving_kv import room_of
from ctxsim.measure.session_copies import SessionCopies
from ctxsim.measure.stores import token_bytes
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

LOAD_S = parse("75 s", "seconds")
COUNTED_S = parse("30 s", "seconds")
"""At the end of the load."""

SEQUENCES = (1, 2, 3, 4, 8)
"""That decode together. Libraries multiply few rows in ways of their own, which passes tell apart: with three rows they
took 7 to 20 % longer than said when those of one and two took 0 to 8."""

CONTEXTS_TOKENS = (512, 2_048)
"""Of sequences that decode."""

PASTS_TOKENS = (0, 1_536)
"""Of chunks; with one, as long as the longest context."""

ALIKE = 4
"""Passes of one kind follow each other, as in an engine: the first, which has copies beside it, is not counted."""


class Load(NamedTuple):
    """Seconds under load over what a calibration says: of passes that decode, of chunks of prompts, and of copies."""

    decode_ratio: float = 1.0
    chunk_ratio: float = 1.0
    copy_ratio: float = 1.0


UNLOADED = Load()

Beside = Callable[[Callable[[], None]], list[float]]
"""Calls what it is given, at least once, and copies meanwhile; returns seconds over what the calibration says."""


class _Kind(NamedTuple):
    """Equal passes, what the calibration says of one, and how much they count."""

    decodes: bool
    one: Callable[[], None]
    expected_s: float
    weight: float = 1.0


def load_of(scenario: Scenario, device: Device) -> Load:
    """Ratios of the scenario's own model: the means over kinds of passes (sequences, contexts, pasts) of medians.

    Numbers of sequences count by the time that they decode in a simulation of the scenario. Of copies the mean, where
    the scenario has room for sessions in host memory: some wait, in an engine, too.
    """
    passes = Passes(scenario.model, device, scenario.serving.weight_dtype, max(CONTEXTS_TOKENS))
    kinds = _kinds(scenario, passes)
    found: dict[int, list[float]] = defaultdict(list)
    copied: list[float] = []
    with copy_threads(1) as (thread,):
        beside = _copies(scenario, passes, thread)
        begin_s = time.perf_counter()
        while (since_s := time.perf_counter() - begin_s) < LOAD_S or not found:
            for number, kind in enumerate(kinds):
                ratios = beside(kind.one)
                seconds = [_timed_s(kind.one) for _ in range(ALIKE - 1)]
                if since_s >= LOAD_S - COUNTED_S:
                    found[number] += [one_s / kind.expected_s for one_s in seconds]
                    copied += ratios
    decodes, chunks = (_mean(kinds, found, which) for which in (True, False))
    return Load(decodes, chunks, float(np.mean(copied or [1.0])))


def _mean(kinds: Sequence[_Kind], found: Mapping[int, list[float]], decodes: bool) -> float:
    """The medians of the kinds that decode, or of the others, by their weights."""
    of_kind = [i for i, kind in enumerate(kinds) if kind.decodes is decodes]
    return float(np.average([np.median(found[i]) for i in of_kind], weights=[kinds[i].weight for i in of_kind]))


def _copies(scenario: Scenario, passes: Passes, thread: ThreadPoolExecutor) -> Beside:
    """Copies of sessions; none where there is no room for them in host memory."""
    room = room_of(scenario, CostModel(scenario), token_bytes(scenario.model, passes.model.dtype))
    if room.host_tokens:
        return SessionCopies(scenario, passes.model, room, thread).beside

    def nothing(one: Callable[[], None]) -> list[float]:
        one()
        return []

    return nothing


def _kinds(scenario: Scenario, passes: Passes) -> list[_Kind]:
    cost = CostModel(scenario)

    def decoding(sequences: int, context: int, weight: float) -> _Kind:
        expected_s = cost.pass_s(cost.batch(1, context - 1, sequences=sequences))
        return _Kind(True, lambda: passes.decode(sequences, context), float(expected_s), weight)

    def chunk(past: int) -> _Kind:
        return _Kind(False, lambda: passes.chunk(past), float(cost.pass_s(cost.batch(CHUNK_TOKENS, past))))

    shares = zip(SEQUENCES, decoding_shares(scenario, SEQUENCES), strict=True)
    decodes = [decoding(sequences, context, share) for sequences, share in shares for context in CONTEXTS_TOKENS]
    return decodes + [chunk(past) for past in PASTS_TOKENS]


def _timed_s(call: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s
