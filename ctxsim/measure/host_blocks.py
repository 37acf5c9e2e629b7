"""The KV of sessions in host memory: in blocks, for nothing there has to lie in one piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ctxsim.errors import CtxsimError

Stretch = tuple[int, int]
"""Tokens [first, second) of a session."""

Needs = Callable[[], Mapping[int, Sequence[Stretch]]]


class HostBlocks:
    """Blocks of sessions in ``store`` (layers, tokens, ...).

    needs: the stretches of each session, in whole blocks, that are kept or copied; asked when room is short, for the
    other blocks are free only then. settle: called where that is not enough; copies have ended when it returns.
    """

    def __init__(self, store: torch.Tensor, block_size: int, needs: Needs, settle: Callable[[], None]) -> None:
        self._store = store
        self._size = block_size
        self._needs = needs
        self._settle = settle
        self._free = np.ones(store.shape[1] // block_size, dtype=bool)
        self._places: dict[tuple[int, int], int] = {}

    def take(self, session: int, stretch: Stretch) -> None:
        """Gives all blocks of the stretch new places, together where there is a gap; what was there is of no use.

        Raises CtxsimError where there are too few.
        """
        blocks = self._blocks(stretch)
        for block in blocks:
            self._give_up((session, block))
        if self._free_count() < len(blocks):
            self._trim()
        if self._free_count() < len(blocks):
            self._settle()
            self._trim()
        found = self._free_count()
        if found < len(blocks):
            what = f"{len(blocks)} host blocks for session {session}"
            raise CtxsimError(f"expected room for {what}, found {found}: a fault of ours")
        for block, place in zip(blocks, self._lowest(len(blocks)), strict=True):
            self._free[place] = False
            self._places[session, block] = int(place)

    def _free_count(self) -> int:
        return int(np.count_nonzero(self._free))

    def _give_up(self, key: tuple[int, int]) -> None:
        if key in self._places:
            self._free[self._places.pop(key)] = True

    def runs(self, session: int, stretch: Stretch) -> list[tuple[Stretch, torch.Tensor]]:
        """The stretch in pieces that lie in one: which tokens, and their KV in all layers."""
        runs: list[list[int]] = []
        for block in self._blocks(stretch):
            place = self._places[session, block]
            if runs and runs[-1][1] + runs[-1][2] == place:
                runs[-1][2] += 1
            else:
                runs.append([block, place, 1])
        size = self._size
        return [((b * size, (b + n) * size), self._store[:, p * size : (p + n) * size]) for b, p, n in runs]

    def _blocks(self, stretch: Stretch) -> range:
        return range(stretch[0] // self._size, stretch[1] // self._size)

    def _lowest(self, count: int) -> np.ndarray:
        """Free places: in the first gap that has them all, else wherever they are."""
        free = np.flatnonzero(self._free)
        # A gap of that length begins where the place ``count - 1`` further in the list is as much further on.
        begins = np.flatnonzero(free[count - 1 :] - free[: len(free) - count + 1] == count - 1)
        first = int(begins[0]) if len(begins) else 0
        return free[first : first + count]

    def _trim(self) -> None:
        """What nobody needs any more is free."""
        needed = {
            (session, block)
            for session, stretches in self._needs().items()
            for stretch in stretches
            for block in self._blocks(stretch)
        }
        for key in self._places.keys() - needed:
            self._give_up(key)
