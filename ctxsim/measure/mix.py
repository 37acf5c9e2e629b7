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
    runs = simulate(scenario).runs
    alone = runs[runs["new_tokens"] == runs["decode_tokens"]]
    ratios = np.log(alone["decoding"].to_numpy(float)[:, None] / np.asarray(sequences, float))
    nearest = np.abs(ratios).argmin(axis=1)
    seconds = run_s({str(name): column.to_numpy() for name, column in alone.items()})
    shares = np.bincount(nearest, weights=seconds, minlength=len(sequences))
    return (shares / shares.sum()).tolist() if shares.sum() else [1 / len(sequences)] * len(sequences)
