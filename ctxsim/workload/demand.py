"""What a workload asks of a server: demands, and the sources that release them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Demand:
    """One request as its user sends it: when, how much to read, how much to write.

    ``prompt_tokens`` is the whole context sent, cached or not. ``session`` names the conversation whose context
    the prompt extends (each independent request is a session of its own), ``turn`` counts from 0 within it.
    ``index`` counts demands in order of creation; for a trace it is the row of its table.

    ``reusable_tokens`` are the leading tokens of the prompt whose KV was computed before, by an earlier turn of the
    session or by any request with the same leading blocks: what an unlimited cache would find. ``last``: no later
    turn of this session will come, so that its KV can be let go. ``hashes`` name the full blocks of the prompt,
    first block first; None where the workload carries none.
    """

    index: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    session: int
    turn: int
    reusable_tokens: int = 0
    last: bool = True
    hashes: NDArray[np.int64] | None = field(default=None, compare=False)


class Source(Protocol):
    """The demands of one run. It holds the state of that run: make a new one for each.

    ``warnings``: what a reader of the results must know about the demands. ``releases``: whether completions release
    demands (``after``), as users do who wait for an answer.
    """

    warnings: tuple[str, ...]
    releases: bool

    @property
    def num_requests(self) -> int | None:
        """How many demands there will be in all; None where only the horizon ends them."""

    def initial(self) -> Iterator[Demand]:
        """Demands that wait for no completion, in order of arrival, made as they are asked for.

        Equal arrivals stand in file (or creation) order. May be endless. Call it once.
        """

    def after(self, demand: Demand, finished_s: float) -> Sequence[Demand]:
        """The demands that the completion of ``demand`` at ``finished_s`` releases, most often one or none."""
