"""Charges by request: what holds and what switches, added up as it comes."""

from __future__ import annotations

import numpy as np

from ctxsim.engine import HBM, HOST
from ctxsim.sim.charges import SWITCHING, Charges


def test_what_is_charged_is_added_up_by_request() -> None:
    charges = Charges()
    charges.add(HBM, 2, 1.5)
    charges.add(HBM, 0, 0.25)
    charges.add(HBM, 2, -0.5)
    charges.add(SWITCHING, 1, 4.0)
    assert np.array_equal(charges.usd(HBM, 4), [0.25, 0.0, 1.0, 0.0])
    assert np.array_equal(charges.usd(SWITCHING, 4), [0.0, 4.0, 0.0, 0.0])
    assert np.array_equal(charges.usd(HOST, 4), np.zeros(4))
