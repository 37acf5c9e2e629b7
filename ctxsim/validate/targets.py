"""What was to be reached and what was: one line a target, from the same frames as the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: ``what`` is measured, the limit and what was found in words, and whether it is kept."""

    what: str
    limit: str
    found: str
    met: bool


def at_most(what: str, found_ratio: float, limit_ratio: float) -> Target:
    """A share that should not be exceeded."""
    return Target(what, f"at most {_percent(limit_ratio, 0)}", _percent(found_ratio, 1), found_ratio <= limit_ratio)


def at_least(what: str, found_ratio: float, limit_ratio: float) -> Target:
    """A share that should be reached."""
    return Target(what, f"at least {_percent(limit_ratio, 0)}", _percent(found_ratio, 1), found_ratio >= limit_ratio)


def times_at_most(what: str, found: float, limit: float) -> Target:
    """A multiple that should not be exceeded."""
    return Target(what, f"at most {limit:.1f} x", f"{found:.2f} x", found <= limit)


def target_table(targets: Sequence[Target]) -> pd.DataFrame:
    """One row a target."""
    rows = [(target.what, target.met, target.found, target.limit) for target in targets]
    return pd.DataFrame(rows, columns=["target", "met", "measured", "limit"])


def _percent(ratio: float, digits: int) -> str:
    return f"{ratio:.{digits}%}".replace("%", " %")
