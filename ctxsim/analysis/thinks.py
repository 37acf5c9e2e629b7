"""How think time is spread over gaps: a few long ones may hold most of it."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from ctxsim.spec.workload import ExponentialTime, LognormalTime, ThinkTime

ShareOfLongest = Callable[[float], float]
"""The share of all think time that lies in the longest ``share`` of the gaps (the Lorenz curve, from its top)."""


def share_of_longest(think: ThinkTime | None) -> ShareOfLongest:
    """That share: p of equal gaps, p (1 - ln p) of exponential ones, Q(Q^-1(p) - sigma) of lognormal ones."""
    if isinstance(think, ExponentialTime):
        return _exponential
    if isinstance(think, LognormalTime) and think.sigma:
        return _lognormal(think.sigma)
    return _equal


def _equal(share: float) -> float:
    return min(share, 1.0)


def _exponential(share: float) -> float:
    # E[X; X > t] = (t + m) exp(-t / m) with exp(-t / m) = share.
    return share * (1 - log(share)) if 0 < share < 1 else min(share, 1.0)


def _lognormal(sigma: float) -> ShareOfLongest:
    # Imported here: few scenarios need it, and every command would start later.
    from statistics import NormalDist

    normal = NormalDist()

    def share_of(share: float) -> float:
        # Q(z) = share and E[X; X > t] / E[X] = Q(z - sigma), where z = -inv_cdf(share).
        return normal.cdf(normal.inv_cdf(share) + sigma) if 0 < share < 1 else min(share, 1.0)

    return share_of
