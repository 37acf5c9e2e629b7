"""What to do with the KV of a user who thinks: keep, swap, compute again or drop, by context length and idle time."""

from ctxsim.explore.residency.choices import CHOICES, Held, Limits
from ctxsim.explore.residency.machines import MachineLimits, break_even_by_machine
from ctxsim.explore.residency.map import ResidencyMap, residency_map

__all__ = [
    "CHOICES",
    "Held",
    "Limits",
    "MachineLimits",
    "ResidencyMap",
    "break_even_by_machine",
    "residency_map",
]
