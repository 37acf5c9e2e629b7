"""What a workload asks of a server: demands, and the sources that release them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Demand:
    """One request as its user sends it: when, how much to read, how much to write.

    ``prompt_tokens`` is the whole context sent, cached or not. ``session`` names the conversation whose context
    the prompt extends (each independent request is a session of its own), ``turn`` counts from 0 within it.
    ``index`` counts demands in order of creation; for a trace it is the row of its table.
    """

    index: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    session: int
    turn: int


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

    def after(self, demand: Demand, finished_s: float) -> Demand | None:
        """The demand that the completion of ``demand`` at ``finished_s`` releases, or None."""
