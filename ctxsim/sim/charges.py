"""What each request is charged for KV that it leaves and copies it needs, as it comes."""

from __future__ import annotations

from array import array

import numpy as np

SWITCHING = 3
"""Beside the tiers, 0 HBM, 1 host memory and 2 disk: what a charge is for."""


class Charges:
    """USD by request and by what for: three tiers that hold, and switching. One float a request that is charged."""

    def __init__(self) -> None:
        self._usd = [array("d") for _ in range(SWITCHING + 1)]

    def add(self, what: int, request: int, usd: float) -> None:
        """So much more is the request's to pay."""
        charged = self._usd[what]
        if request >= len(charged):
            charged.frombytes(bytes(charged.itemsize * (request + 1 - len(charged))))
        charged[request] += usd

    def usd(self, what: int, requests: int) -> np.ndarray:
        """What each of so many requests pays."""
        found = np.zeros(requests)
        charged = self._usd[what]
        found[: len(charged)] = charged
        return found
