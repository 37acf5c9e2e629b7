"""Energy of arithmetic by its kind: what attention without multiplications saves.

energy = 3.7 pJ x multiplications + 0.9 pJ x additions, of 32-bit floats in a 45 nm process (Horowitz, Computing's
energy problem, ISSCC 2014, as EcoFormer, arXiv 2209.09004, counts it). Memory traffic is not in it, which takes more
than both: this compares ways of computing, and is no electricity bill.
"""

from __future__ import annotations

MULTIPLICATION_J = 3.7e-12
ADDITION_J = 0.9e-12


def arithmetic_j(multiplications: float, additions: float) -> float:
    """Joules of so many 32-bit multiplications and additions."""
    return multiplications * MULTIPLICATION_J + additions * ADDITION_J
