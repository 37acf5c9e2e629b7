"""Whom an iteration at calibrated times is for, by the marginal times of its operations.

An operation without context takes what it would have taken for the prompts alone, and for the answers alone; together
it takes less than the sum. What an iteration would have taken less without the one part is that part's own; the rest,
which either would have needed alone, is divided evenly over all sequences. Attention kernels were measured apart: one
of prompts is theirs, one of decode goes by the KV tokens that it reads for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ctxsim.cost.calibrated.kernels import Kernel
from ctxsim.cost.calibrated.tariffs import Priced
from ctxsim.cost.shares import Slope
from ctxsim.geometry import BatchTotals

Pair = tuple[Any, Any]
"""Seconds for the decodes, and all; numbers or arrays."""


def fixed_shares(tariffs: Iterable[Priced], batch: BatchTotals, decodes: BatchTotals) -> Pair:
    """Of operations without context; each shape of a batch is worked out once."""
    numbers = (batch.sequences, batch.new_tokens, batch.decode_tokens, decodes.sequences)
    columns = np.stack(np.broadcast_arrays(*numbers), axis=-1).reshape(-1, len(numbers))
    shapes, places = np.unique(columns, axis=0, return_inverse=True)
    known = [sum((_share(t, *shape) for t in tariffs), np.zeros(2)) for shape in shapes.tolist()]
    found = np.array(known).reshape(len(shapes), 2)[places.ravel()]
    return found[:, 0].reshape(np.shape(numbers[0])), found[:, 1].reshape(np.shape(numbers[0]))


def kernel_shares(kernel: Kernel, batch: BatchTotals, decodes: BatchTotals) -> tuple[Any, Any, Slope]:
    """Of one attention kernel, with its slope: what a pair, or a token touched, adds to it."""
    at = kernel.span
    amounts = (batch.sequences, batch.new_tokens, batch.decode_tokens, batch.pairs[at], batch.touched[at])
    columns = np.broadcast_arrays(*amounts)
    shape, touched = columns[-1].shape, columns[-1].ravel()
    found = np.zeros((2, touched.size))
    runs = np.flatnonzero(touched)
    if len(runs):
        rows = zip(*(column.ravel()[runs].tolist() for column in columns), strict=True)
        found[:, runs] = np.array([_kernel_s(kernel, *row) for row in rows]).T
    all_s, slope_s = found.reshape(2, *shape)
    mine_s = all_s * decodes.touched[at] / np.where(columns[-1] > 0, columns[-1], 1.0)
    return mine_s, all_s, Slope(slope_s, 0.0) if kernel.by_pairs else Slope(0.0, slope_s)


def _kernel_s(
    kernel: Kernel, sequences: int, new_tokens: int, decode_tokens: int, pairs: float, touched: float
) -> tuple[float, float]:
    """Its time in such a batch, and the time's growth with its own amount."""
    others, ones = [0.0] * kernel.span, [1.0] * (kernel.span + 1)
    batch = BatchTotals(sequences, new_tokens, decode_tokens, [*others, pairs], ones, [*others, touched], ones)
    stretch = kernel.at(batch, 0)
    return stretch.seconds, stretch.growth_s


def _share(tariff: Priced, sequences: int, new_tokens: int, decode_tokens: int, decoding: int) -> np.ndarray:
    together_s = tariff.seconds(_batch(sequences, new_tokens, decode_tokens))
    if not 0 < decoding < sequences:
        return np.array((together_s if decoding else 0.0, together_s))
    others_s = tariff.seconds(_batch(sequences - decoding, new_tokens - decoding, decode_tokens - decoding))
    mine_s = tariff.seconds(_batch(decoding, decoding, decoding))
    own_s, both_s = together_s - others_s, mine_s + others_s - together_s
    return np.array((min(max(own_s + both_s * decoding / sequences, 0.0), together_s), together_s))


def _batch(sequences: int, new_tokens: int, decode_tokens: int) -> BatchTotals:
    return BatchTotals(sequences, new_tokens, decode_tokens, [], [], [], [])
