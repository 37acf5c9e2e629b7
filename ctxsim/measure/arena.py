"""The KV of sessions on the device: each lies in one piece, so that plain attention kernels can read it.

Paged KV would never have to move, but torch has no attention kernel that follows page tables on every device, and
gathering pages would read and write all of a context in each layer of each step. Here a session grows in place into
the gap behind it; only where gaps are too small is anything moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ctxsim.errors import CtxsimError

GROWTH_RATIO = 1 / 16
"""Room to grow that is left between two sessions where there is any: this share of the longer of the first one and
the rest of the gap."""

Needs = Callable[[], Mapping[int, int]]


@dataclass(slots=True)
class Place:
    """Where a session lies: its first token, and how many there is room for."""

    base: int
    tokens: int

    @property
    def end(self) -> int:
        """The first token behind it."""
        return self.base + self.tokens


class Arena:
    """Places of sessions in ``store`` (layers, tokens, ...), in whole blocks.

    needs: how many tokens of each session are to be kept from its first on; asked when room is short, for what nobody
    needs gives way only then. settle: called before anything is moved; no copy may be under way when it returns.
    moved_tokens: how much was moved so far.
    """

    def __init__(self, store: torch.Tensor, block_size: int, needs: Needs, settle: Callable[[], None]) -> None:
        self.store = store
        self.moved_tokens = 0
        self._size = store.shape[1]
        self._block_size = block_size
        self._needs = needs
        self._settle = settle
        self._places: dict[int, Place] = {}

    def rows(self, session: int, start: int, end: int) -> torch.Tensor:
        """The KV of tokens [start, end) of a session that has a place, in all layers; in one piece in each."""
        base = self._places[session].base
        return self.store[:, base + start : base + end]

    def place(self, session: int, tokens: int) -> int:
        """Sees to it that the session has a place for so many tokens, all that it has kept there; returns its base.

        Raises CtxsimError where the sessions that are needed leave no room at all.
        """
        tokens = -(-tokens // self._block_size) * self._block_size
        if not (self._has(session, tokens) or self._grow(session, tokens) or self._put(session, tokens)):
            self._trim()
            if not (self._grow(session, tokens) or self._put(session, tokens)):
                self._settle()
                self._trim()
                if not (self._grow(session, tokens) or self._put(session, tokens) or self._rehouse(session, tokens)):
                    self._make_room(session, tokens)
        return self._places[session].base

    def _has(self, session: int, tokens: int) -> bool:
        return session in self._places and self._places[session].tokens >= tokens

    def _grow(self, session: int, tokens: int) -> bool:
        """Into the gap behind it."""
        place = self._places.get(session)
        if place is None:
            return False
        following = min((p.base for p in self._places.values() if p.base >= place.end), default=self._size)
        if place.base + tokens > following:
            return False
        place.tokens = max(place.tokens, tokens)
        return True

    def _put(self, session: int, tokens: int) -> bool:
        """A new session into the largest gap."""
        base = None if session in self._places else self._base_of_new(tokens)
        if base is None:
            return False
        self._places[session] = Place(base, tokens)
        return True

    def _rehouse(self, session: int, tokens: int) -> bool:
        """A session that outgrew its place into the largest gap, with what it has."""
        place, base = self._places.get(session), self._base_of_new(tokens)
        if place is None or base is None:
            return False
        self._move(place, base)
        place.tokens = tokens
        return True

    def _base_of_new(self, tokens: int) -> int | None:
        """Where so many tokens fit best, with room to grow for the session before them; None where nowhere."""
        start, end, before = max(self._gaps(), key=lambda gap: gap[1] - gap[0])
        spare = end - start - tokens
        if spare < 0:
            return None
        wanted = int(max(before, spare) * GROWTH_RATIO) // self._block_size * self._block_size
        return start + (min(wanted, spare) if before else 0)

    def _gaps(self) -> list[tuple[int, int, int]]:
        """Start and end of each gap, and the length of the session before it."""
        gaps, start, before = [], 0, 0
        for place in self._in_order():
            gaps.append((start, place.base, before))
            start, before = place.end, place.tokens
        return [*gaps, (start, self._size, before)]

    def _in_order(self) -> list[Place]:
        return sorted(self._places.values(), key=lambda place: place.base)

    def _trim(self) -> None:
        """What nobody needs any more gives way."""
        needs = self._needs()
        for session, place in list(self._places.items()):
            needed = -(-needs.get(session, 0) // self._block_size) * self._block_size
            place.tokens = min(place.tokens, needed)
            if not needed:
                del self._places[session]

    def _make_room(self, session: int, tokens: int) -> None:
        """Moves all sessions so that each has the same gap behind it, this one with its new length."""
        places = self._in_order()
        mine = self._places.get(session)
        if mine is None:
            places.append(mine := Place(self._size, 0))
        lengths = [tokens if place is mine else place.tokens for place in places]
        gap = (self._size - sum(lengths)) // len(lengths) // self._block_size * self._block_size
        if gap < 0:
            held = self._size - sum(lengths) + tokens
            raise CtxsimError(f"expected room for {tokens} tokens of session {session}, found {held}: a fault of ours")
        end = 0
        for place in places:
            self._move(place, end)
            end = place.end
        targets = [sum(lengths[:i]) + i * gap for i in range(len(lengths))]
        for place, base in zip(reversed(places), reversed(targets), strict=True):
            self._move(place, base)
        mine.tokens = tokens
        self._places[session] = mine

    def _move(self, place: Place, base: int) -> None:
        """By way of a copy, layer by layer: the old place and the new one may overlap."""
        if base != place.base and place.tokens:
            self.moved_tokens += place.tokens
            for layer in self.store:
                layer[base : base + place.tokens] = layer[place.base : place.end].clone()
        place.base = base
