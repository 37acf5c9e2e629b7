"""Hashes of prompt blocks: which prompts begin alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Hashes of the prompt blocks of each row; equal hashes are equal prefixes.

    ``offsets`` (rows + 1) cut ``hashes`` into rows; ``block_tokens`` is the length of a block, 0 without blocks.
    """

    offsets: Ints
    hashes: Ints
    block_tokens: int

    @classmethod
    def none(cls, rows: int) -> Blocks:
        """No hashes for any of ``rows`` rows."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, np.int64), 0)

    @property
    def lengths(self) -> Ints:
        """How many hashes each row has."""
        return np.diff(self.offsets)

    def of(self, row: int) -> Ints:
        """The hashes of one row, first block first: a view."""
        return self.hashes[self.offsets[row] : self.offsets[row + 1]]

    def of_each(self, rows: Ints) -> Iterator[Ints | None]:
        """The hashes of each of ``rows``, None for a row that has none."""
        if not self.block_tokens:
            return repeat(None, len(rows))
        return (hashes if hashes.size else None for hashes in map(self.of, rows.tolist()))

    def take(self, rows: Ints) -> Blocks:
        """The blocks of ``rows``, in that order."""
        return self._cut(rows, self.lengths[rows])

    def full(self, prompt_tokens: Ints) -> Blocks:
        """Without the hash of the last block of every prompt that does not fill it."""
        if not self.block_tokens:
            return self
        return self._cut(np.arange(len(prompt_tokens)), np.minimum(self.lengths, prompt_tokens // self.block_tokens))

    def found_tokens(self) -> Ints:
        """Tokens of the leading blocks of each row that occurred in an earlier row, up to the first that did not."""
        row = np.repeat(np.arange(len(self.lengths)), self.lengths)
        new = np.zeros(len(self.hashes), np.bool_)
        new[np.unique(self.hashes, return_index=True)[1]] = True
        num_new = np.concatenate(([0], np.cumsum(new)))
        # Up to its end as many new blocks as up to the beginning of its row: none of the row's blocks so far is new.
        found = num_new[1:] == num_new[self.offsets[row]]
        return np.bincount(row[found], minlength=len(self.lengths)) * self.block_tokens

    def _cut(self, rows: Ints, lengths: Ints) -> Blocks:
        """The first ``lengths`` hashes of each of ``rows``, in that order."""
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        # Position within the taken row, moved to where that row begins in the old values.
        old = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[rows], lengths)
        return Blocks(offsets, self.hashes[old], self.block_tokens)
