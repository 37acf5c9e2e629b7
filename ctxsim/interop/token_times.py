"""When the tokens of single requests were made, from the runs of their replicas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctxsim.records import Records, Table


@dataclass(frozen=True)
class TokenGaps:
    """The pauses between the tokens of each request, in the order of its table.

    equal: how many requests had their time after the first token divided equally, since their tokens cannot be told:
    they paused, or were preempted, while their replica went on.
    """

    gaps_s: list[np.ndarray]
    equal: int


def token_gaps(requests: Table, runs: Records) -> TokenGaps:
    """The gaps of every request; memory grows with iterations and tokens.

    A request that is never preempted gets its later tokens from iterations that decode, one from each as long as it
    does not pause. Where there are as many as it has later tokens, their ends are these tokens' times.
    """
    replicas = _iterations(runs)
    gaps_s, equal = [], 0
    columns = ("replica", "output_tokens", "preemptions", "first_token_s", "finished_s")
    for replica, tokens, preempted, first_s, last_s in zip(*(requests[name].tolist() for name in columns), strict=True):
        later = max(tokens - 1, 0)
        times_s = replicas[replica].ends_between(first_s, last_s)
        told = len(times_s) == later and not preempted
        equal += not told
        if told and later:
            times_s[-1] = last_s
        gaps_s.append(np.diff(times_s, prepend=first_s) if told else np.full(later, (last_s - first_s) / max(later, 1)))
    return TokenGaps(gaps_s, equal)


@dataclass(frozen=True)
class _Iterations:
    """All iterations of one replica: when each ended, and which of them decoded."""

    ends_s: np.ndarray
    decoded: np.ndarray

    def ends_between(self, first_s: float, last_s: float) -> np.ndarray:
        """When those ended that decoded, after the one that ended at first_s, up to the one that did at last_s."""
        chosen = slice(self._at(first_s) + 1, self._at(last_s) + 1)
        found: np.ndarray = self.ends_s[chosen][self.decoded[chosen]]
        return found

    def _at(self, time_s: float) -> int:
        """The iteration that ended nearest to the time: ends are worked out from runs, times by the clock."""
        after = int(np.searchsorted(self.ends_s, time_s))
        around = [place for place in (after - 1, after) if 0 <= place < len(self.ends_s)]
        return min(around, key=lambda place: abs(float(self.ends_s[place]) - time_s))


def _iterations(runs: Records) -> dict[int, _Iterations]:
    """By replica; the k-th iteration of a run ends k first + growth k (k - 1) / 2 after its start."""
    table = runs.table()
    found = {}
    for replica in np.unique(table["replica"]):
        chosen = table["replica"] == replica
        number = table["iterations"][chosen]
        start_s, first_s, growth_s, decoding = (
            np.repeat(table[name][chosen], number) for name in ("start_s", "first_s", "growth_s", "decoding")
        )
        k = np.arange(1, len(start_s) + 1) - np.repeat(np.cumsum(number) - number, number)
        found[int(replica)] = _Iterations(start_s + k * first_s + growth_s * k * (k - 1) / 2, decoding > 0)
    return found
