"""How long a run of iterations takes, and at which boundary an arrival joins."""

from __future__ import annotations

from math import ceil, sqrt

# An arrival at or before a boundary plus this joins at that boundary.
TIE_S = 1e-9

# Completions, and arrivals, this close to the first of them are one moment and keep a fixed order.
COMPLETION_MOMENT_S = TIE_S / 4
ARRIVAL_MOMENT_S = TIE_S / 2

# Replicas that take from one queue and plan this close to the first of them keep a fixed order.
TURN_MOMENT_S = TIE_S / 4

# When a replica plans, after a boundary: all that joins there, released by a completion just then too, has come.
PLANNING_DELAY_S = 2 * TIE_S


def run_s(iterations: int, first_s: float, growth_s: float) -> float:
    """Seconds of n iterations that cost first + k * growth: n * first + growth * n (n - 1) / 2."""
    return iterations * first_s + growth_s * (iterations * (iterations - 1) / 2)


def iterations_until(elapsed_s: float, first_s: float, growth_s: float) -> int:
    """Least n >= 1 for which n iterations take at least ``elapsed_s``.

    The root of growth/2 n^2 + (first - growth/2) n = elapsed in the form that does not cancel, then put right by one
    with the forward formula.
    """
    if elapsed_s <= first_s:
        return 1
    linear = first_s - growth_s / 2
    spread = sqrt(linear * linear + 2 * growth_s * elapsed_s)
    n = ceil(2 * elapsed_s / (linear + spread) if linear >= 0 else (spread - linear) / growth_s)
    while n > 1 and run_s(n - 1, first_s, growth_s) >= elapsed_s:
        n -= 1
    while run_s(n, first_s, growth_s) < elapsed_s:
        n += 1
    return n
