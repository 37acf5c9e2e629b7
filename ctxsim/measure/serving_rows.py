"""What the torch engine writes down: the tables that a simulation writes, with times of the wall clock."""

from __future__ import annotations

from math import nan

from ctxsim.engine import Plan, Request
from ctxsim.geometry import BatchTotals
from ctxsim.measure.swapping import Copied
from ctxsim.records import REQUEST_COLUMNS, TRANSFER_COLUMNS, Records, Rows, run_columns, sorted_by
from ctxsim.workload.demand import Demand

Held = tuple[float, float, float]
"""Bytes of KV that no request being served uses: in HBM, in host memory, on disk."""

REPLICA = 0
"""The number of the only one."""


class TimedRequest(Request):
    """A request with its demand and times; negative where something has not happened."""

    __slots__ = ("admitted_s", "demand", "fetched_s", "finished_s", "first_token_s")

    def __init__(self, demand: Demand, caching: bool) -> None:
        known, last = (demand.reusable_tokens, demand.last) if caching else (0, True)
        super().__init__(demand.index, demand.prompt_tokens, demand.output_tokens, demand.session, known, last)
        self.demand = demand
        self.admitted_s = self.fetched_s = self.first_token_s = self.finished_s = -1.0

    def cells(self) -> dict[str, float]:
        """Its row, by the names of REQUEST_COLUMNS."""
        demand, gaps = self.demand, self.output_tokens - 1
        return {
            "request": self.index, "session": demand.session, "turn": demand.turn, "replica": REPLICA,
            "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens, "arrival_s": demand.arrival_s,
            "admitted_s": self.admitted_s, "first_token_s": self.first_token_s, "finished_s": self.finished_s,
            "preemptions": self.preemptions, "recomputed_tokens": self.recomputed_tokens,
            "reusable_tokens": demand.reusable_tokens, "hbm_hit_tokens": self.hit_tokens[0],
            "host_hit_tokens": self.hit_tokens[1], "disk_hit_tokens": self.hit_tokens[2],
            "queue_s": self.admitted_s - demand.arrival_s, "fetch_s": max(0.0, self.fetched_s - self.admitted_s),
            "ttft_s": self.first_token_s - demand.arrival_s,
            "tpot_s": (self.finished_s - self.first_token_s) / gaps if gaps > 0 else nan,
            "e2e_s": self.finished_s - demand.arrival_s,
        }  # fmt: skip


class Tables:
    """The rows of one run, in the order in which things happened."""

    def __init__(self, spans: int) -> None:
        self._requests = Rows(REQUEST_COLUMNS)
        self.transfers = Rows(TRANSFER_COLUMNS)
        self.runs = Rows(run_columns(spans))

    def named(self) -> dict[str, Records]:
        """The tables by their names, requests in order of arrival, as a simulation has them."""
        requests = sorted_by(self._requests, "arrival_s", "request")
        return {"requests": requests, "transfers": self.transfers, "runs": self.runs}

    @property
    def finished(self) -> int:
        """Requests that have all their tokens."""
        return len(self._requests)

    def ended(self, request: TimedRequest) -> None:
        """A request has all its tokens."""
        cells = request.cells()
        self._requests.append(tuple(cells[c.name] for c in REQUEST_COLUMNS))

    def ran(
        self, start_s: float, end_s: float, plan: Plan, batch: BatchTotals, waiting: int, kv_bytes: tuple[float, float],
        held: Held,
    ) -> None:  # fmt: skip
        """An iteration is over; ``kv_bytes``: of requests being served, when it began and at its end."""
        decoding = batch.sequences - len(plan.chunks)
        self.runs.append(
            (
                REPLICA, start_s, 1, end_s - start_s, 0.0, batch.sequences, decoding, batch.new_tokens,
                batch.decode_tokens, waiting, *kv_bytes, len(plan.resumed), *held,
                *batch.pairs, *batch.pairs_growth, *batch.touched, *batch.touched_growth,
            )
        )  # fmt: skip

    def copied(self, copied: Copied, held: Held) -> None:
        """A copy has ended."""
        move = copied.move
        asked = -1 if move.request is None else move.request.index
        self.transfers.append(
            (
                len(self.transfers), REPLICA, ~move.extent.key, asked, move.source, move.target, move.tokens,
                move.moved_bytes, copied.descriptors, copied.ordered_s, copied.start_s, copied.end_s, *held,
            )
        )  # fmt: skip
