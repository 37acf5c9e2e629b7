"""Kernels that read KV in decode: into how many work items they cut it, and what of a device these keep busy.

occupancy = items / (ceil(items / workers) x workers), one worker a compute unit (SM):

    flash_attention_2  a KV head of a sequence each (arXiv 2307.08691): sequences x KV heads
    flash_decoding     each of these in k equal parts, the smallest k whose occupancy is 0.85 of the best (Dao et al.,
                       Flash-Decoding for long-context inference, 2023; csrc/flash_attn/flash_api.cpp,
                       num_splits_heuristic, of at most 128 parts and a part a worker, github.com/Dao-AILab)
    lean_attention     tiles of 128 tokens (256 of heads up to 64), dealt evenly to all workers (stream-K, arXiv
                       2405.10480)

Occupancy is not time. A work item reads at most so many bytes a second, whatever the others do, and all together what
decode attention reaches of the bandwidth:

    seconds = bytes / min(hbm_ratio x bandwidth, busy workers x bytes a second of one)

Busy are as many workers as there are items, all of them at most: where there are a few items more than workers, they
share units (csrc/flash_attn launches as many blocks as there are items) and no second wave waits for the first. So more
sequences never read more slowly. Contexts are taken to have a tile for every part: a law of the iteration index has no
steps at tiles. Shorter ones are read faster here than they could be, of a thousand tokens by some microseconds a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from ctxsim.geometry import ContextClass
from ctxsim.spec.model import Attention
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import DecodeAttention

MOST_SPLITS = 128
ENOUGH = 0.85  # of the best occupancy: parts that are joined cost time, so the fewest that reach it


def tile_tokens(head_dim: int) -> int:
    """Tokens of KV that a worker of LeanAttention takes at once: 256 of heads up to 64, else 128."""
    return 256 if head_dim <= 64 else 128


def occupancy(items: int, workers: int) -> float:
    """The share of the workers' time that equal work items fill when each takes one after the other."""
    return items / (ceil(items / workers) * workers)


def splits(streams: int, workers: int, most: int = MOST_SPLITS) -> int:
    """Parts into which FlashDecoding cuts the context of each of ``streams`` KV heads; at most ``most``."""
    tried = {k: occupancy(streams * k, workers) for k in range(1, min(most, MOST_SPLITS, workers) + 1)}
    enough = ENOUGH * max(tried.values())
    return next(k for k, reached in tried.items() if reached >= enough)


def work_items(
    kernel: DecodeAttention, sequences: int, kv_heads: int, context_tokens: int, head_dim: int, workers: int
) -> int:
    """Work items of one layer: ``sequences`` of ``context_tokens`` each, with so many KV heads on one device."""
    streams = sequences * kv_heads
    if kernel == "flash_attention_2":
        return streams
    tiles = ceil(context_tokens / tile_tokens(head_dim))
    return streams * (tiles if kernel == "lean_attention" else splits(streams, workers, tiles))


def busy_workers(kernel: DecodeAttention, streams: int, workers: int) -> int:
    """Workers that read at the same time, of contexts with a tile for every part."""
    if kernel == "lean_attention":
        return workers
    return min(workers, streams * (splits(streams, workers) if kernel == "flash_decoding" else 1))


@dataclass(frozen=True, slots=True)
class KernelReader:
    """How fast one kernel reads the KV of a batch, on all ranks of a replica together.

    hbm_ratio: the share of HBM bandwidth that it reaches at most. worker_bytes_per_s: of one worker on each rank. busy:
    workers by number of sequences, the last for all that are more. tokens_per_sequence: new tokens of each that a pass
    computes; they share one read.
    """

    hbm_ratio: float
    worker_bytes_per_s: float
    busy: tuple[int, ...]
    tokens_per_sequence: float = 1.0

    @classmethod
    def of(
        cls, kernel: DecodeAttention, kv_heads: int, workers: int, hbm_ratio: float, worker_bytes_per_s: float
    ) -> KernelReader:
        """The reader of layers with so many KV heads on a rank; a batch of no sequences counts as one."""
        full = ceil(workers / kv_heads)
        busy = [busy_workers(kernel, kv_heads * n, workers) for n in range(1, full + 1)]
        return cls(hbm_ratio, worker_bytes_per_s, (busy[0], *busy))

    def of_rounds(self, tokens: float) -> KernelReader:
        """The same where a pass computes so many tokens of a sequence."""
        return replace(self, tokens_per_sequence=tokens)

    def waits_for(self, hbm_bytes_per_s: Any) -> str:
        """See operations.Reader: KV lies in HBM."""
        return ""

    def bytes_per_s(self, decode_tokens: Any, hbm_bytes_per_s: Any) -> Any:
        """Bytes a second for so many new tokens (numbers, or arrays of them or of bandwidths)."""
        if isinstance(decode_tokens, int | float) and isinstance(hbm_bytes_per_s, int | float):
            sequences = round(decode_tokens / self.tokens_per_sequence)
            busy = self.busy[min(sequences, len(self.busy) - 1)]
            return min(self.hbm_ratio * hbm_bytes_per_s, busy * self.worker_bytes_per_s)
        # Imported here: numbers need no arrays.
        import numpy as np

        places = np.rint(np.asarray(decode_tokens) / self.tokens_per_sequence).astype(int)
        busy_at = np.asarray(self.busy)[np.minimum(places, len(self.busy) - 1)]
        return np.minimum(self.hbm_ratio * hbm_bytes_per_s, busy_at * self.worker_bytes_per_s)


def readers(scenario: Scenario, classes: tuple[ContextClass, ...]) -> Iterator[KernelReader | None]:
    """For every span of the classes, how fast the scenario's kernel reads it; None: with all bandwidth."""
    kernel, hardware, deployment = scenario.serving.decode_attention, scenario.hardware, scenario.deployment
    worker_bytes_per_s, hbm_ratio = hardware.decode_worker_bytes_per_s, hardware.decode_hbm_ratio
    for c in classes:
        for span in c.spans:
            if kernel is None or span.phase != "decode" or not isinstance(c.mixer, Attention):
                yield None
                continue
            # Checked when the scenario was read (spec.decoding_checks).
            assert worker_bytes_per_s is not None
            assert hbm_ratio is not None
            kv_heads = ceil(c.mixer.num_kv_heads / deployment.tensor_parallel)
            together_bytes_per_s = deployment.ranks * worker_bytes_per_s
            yield KernelReader.of(kernel, kv_heads, hardware.compute_units, hbm_ratio, together_bytes_per_s)
