"""What a replica asks of what is around it: links, accounts, and whom it serves."""

from __future__ import annotations

from typing import Protocol

import simpy

from ctxsim.cost import Law
from ctxsim.engine import Move
from ctxsim.sim.journal import ServedRequest
from ctxsim.sim.ledger import Held, Rest


class Surroundings(Protocol):
    """What a replica asks of what is around it."""

    releases: bool
    undisturbed: Law

    def completed(self, request: ServedRequest) -> None:
        """A request has all its tokens."""
        ...

    def admitted(self, request: ServedRequest) -> None:
        """A request begins to be served, with its prefix claimed."""
        ...

    def turn(self) -> simpy.Event | None:
        """Comes when it is this replica's turn to plan, of those at one boundary; None where it need not wait."""
        ...

    def put_back(self) -> None:
        """Requests that were this replica's are in the queue for whoever takes it."""
        ...

    def send(self, move: Move, computes: bool) -> None:
        """The copy sets out, at the replica's clock; computes: whether an iteration begins then too."""
        ...

    def ended(self, move: Move) -> None:
        """A copy has taken effect."""
        ...

    def ran(self, slowed_s: float) -> None:
        """A run is over at the replica's clock, but for what its end brings; copies made it so much longer."""
        ...

    def law(self) -> Law:
        """Seconds of a batch beside the copies that are under way now."""
        ...

    def tally(self, held: Held) -> None:
        """The replica holds that much at its clock."""
        ...

    def rested(self, rest: Rest) -> None:
        """Nothing was computed for so long."""
        ...
