"""Copies of sessions beside passes without end, from and to places that take turns as an engine's do.

Places matter: while a virtual machine's neighbours were busy, copies of 32 MiB between four places took 59 us a MiB in
the median and one in thirty over 81, between thirty-two 68 and 480; a few minutes later 57 to 58 both, and one in
thirty over 62 to 68 between four, 66 to 90 between thirty-two.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import torch

from ctxsim.cost.host_link import way
from ctxsim.measure.copies import Blocks
from ctxsim.measure.host_copies import copied_s
from ctxsim.measure.serving_kv import Room
from ctxsim.measure.stores import kv_store
from ctxsim.measure.transformer import Transformer
from ctxsim.spec.scenario import Scenario

SESSION_TOKENS = 4_096
MOST_PLACES = 32
"""In host memory."""


class SessionCopies:
    """One copy out of the device's memory and one back at a time, by a thread.

    Both stores have room for a session at least; ``room`` says how many tokens.
    """

    def __init__(self, scenario: Scenario, model: Transformer, room: Room, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._tokens = min(SESSION_TOKENS, room.device_tokens, room.host_tokens)
        places = [min(MOST_PLACES, tokens // self._tokens) for tokens in (room.device_tokens, room.host_tokens)]
        host = torch.device("cpu")
        self._stores = [kv_store(model, count * self._tokens, host) for count in places]
        self._out = zip(*(cycle(range(count)) for count in places), strict=True)
        # What comes back was copied long ago: no cache has it any more.
        self._back = zip(*(islice(cycle(range(count)), count // 2, None) for count in places), strict=True)
        moved_bytes = self._tokens * room.token_bytes
        ways = [way(scenario, "to_host", beside=True), way(scenario, "to_device", beside=True)]
        self._expected_s = [one.seconds(moved_bytes, model.num_layers) for one in ways]

    def beside(self, one: Callable[[], None]) -> list[float]:
        """Seconds of a copy out and one back over what the calibration says of each, while passes (``one``) go on."""
        out, back = self._pieces(next(self._out)), self._pieces(next(self._back))
        copying = self._thread.submit(lambda: [copied_s(*out), copied_s(*reversed(back))])
        one()
        while not copying.done():
            one()
        return [seconds / expected_s for seconds, expected_s in zip(copying.result(), self._expected_s, strict=True)]

    def _pieces(self, places: tuple[int, ...]) -> list[Blocks]:
        """Those of each layer, on the device and in host memory."""
        size = self._tokens
        return [
            store[:, place * size : (place + 1) * size].unbind(0)
            for store, place in zip(self._stores, places, strict=True)
        ]
