"""What a scenario computes, by its simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctxsim.api.calls import simulate
from ctxsim.metrics.utilisation import run_s
from ctxsim.spec.scenario import Scenario


def decoding_shares(scenario: Scenario, sequences: Sequence[int]) -> list[float]:
    """Shares of the time in which nothing but decoding goes on, by which of those numbers the sequences are nearest to.

    Nearest by ratio. Equal shares where nothing ever only decodes.
    """
    runs = simulate(scenario).tables["runs"].table()
    alone = runs["new_tokens"] == runs["decode_tokens"]
    ratios = np.log(runs["decoding"][alone, None] / np.asarray(sequences, float))
    nearest = np.abs(ratios).argmin(axis=1)
    shares = np.bincount(nearest, weights=run_s(runs)[alone], minlength=len(sequences))
    return [float(share / shares.sum()) if shares.any() else 1 / len(sequences) for share in shares]
