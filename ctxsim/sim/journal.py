"""What a simulation writes down: one row a request, a run of equal iterations or a copy, never one a token."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path

from ctxsim.cost import Piece
from ctxsim.engine import Plan, Request
from ctxsim.geometry import BatchTotals
from ctxsim.metrics import BLOCK_RUNS, Presence
from ctxsim.records import (
    CHUNK_COLUMNS,
    GAP_COLUMNS,
    REQUEST_COLUMNS,
    STAY_COLUMNS,
    TRANSFER_COLUMNS,
    Rows,
    simulated_run_columns,
)
from ctxsim.sim.jump import run_s
from ctxsim.sim.links import Copy
from ctxsim.workload.demand import Demand


class Run:
    """A run of equal iterations under way: what it computes, what that costs, and how many there are.

    alone: what it would cost without copies beside it. open: whether an arrival would cut it short. serving_bytes: KV
    blocks of requests being served when it began. resumed: its sequences whose first token ends a pause.
    """

    __slots__ = ("alone", "batch", "iterations", "open", "piece", "plan", "resumed", "serving_bytes")

    def __init__(
        self, plan: Plan, batch: BatchTotals, piece: Piece, alone: Piece, iterations: int, serving_bytes: float
    ) -> None:
        self.plan = plan
        self.batch = batch
        self.piece = piece
        self.alone = alone
        self.iterations = iterations
        self.open = plan.open
        self.resumed = 0
        self.serving_bytes = serving_bytes

    @property
    def slowed_s(self) -> float:
        """How much longer it takes than without copies beside it."""
        if self.piece is self.alone:
            return 0.0
        first_s, growth_s = self.piece.first_s - self.alone.first_s, self.piece.growth_s - self.alone.growth_s
        return run_s(self.iterations, first_s, growth_s)


class ServedRequest(Request):
    """A request with its times: arrival, first admission, KV swapped in, first token, end.

    lost_s: when it made its last token, while it makes none (preempted, paused, or others go first); else negative.
    gap_s: how long before it came its session's last turn had ended, where nothing else of the session was under way.
    """

    __slots__ = (
        "admitted_s",
        "arrival_s",
        "demand",
        "fetched_s",
        "finished_s",
        "first_token_s",
        "gap_s",
        "lost_s",
        "replica",
    )

    def __init__(self, demand: Demand, caching: bool = True) -> None:
        if caching:
            known, last, hashes = demand.reusable_tokens, demand.last, demand.hashes
            super().__init__(
                demand.index, demand.prompt_tokens, demand.output_tokens, demand.session, known, last, hashes
            )
        else:
            super().__init__(demand.index, demand.prompt_tokens, demand.output_tokens, demand.session)
        self.demand = demand
        self.arrival_s = demand.arrival_s
        self.replica = -1
        self.admitted_s = -1.0
        self.fetched_s = -1.0
        self.first_token_s = -1.0
        self.finished_s = -1.0
        self.lost_s = -1.0
        self.gap_s: float | None = None

    def row(self) -> tuple[float, ...]:
        """Its row, in the order of REQUEST_COLUMNS."""
        more = self.output_tokens - 1
        demand, arrival_s, first_token_s = self.demand, self.arrival_s, self.first_token_s
        return (
            self.index,
            demand.session,
            demand.turn,
            self.replica,
            self.prompt_tokens,
            self.output_tokens,
            arrival_s,
            self.admitted_s,
            first_token_s,
            self.finished_s,
            self.preemptions,
            self.recomputed_tokens,
            demand.reusable_tokens,
            *self.hit_tokens,
            self.admitted_s - arrival_s,
            max(0.0, self.fetched_s - self.admitted_s),
            first_token_s - arrival_s,
            (self.finished_s - first_token_s) / more if more > 0 else nan,
            self.finished_s - arrival_s,
        )


class Journal:
    """Rows of one simulation, in the order in which things happened.

    requests, runs, transfers: see records. gaps: (end, pause) between two tokens of a request that was preempted,
    paused or made to wait for others. rejected: what could never be served. finished, history: the requests, and
    (event, request index, time), where a history is kept. spool: a folder for rows that memory has no room for.
    chunks, stays: who was in which runs; cuts: how many rows they had after each BLOCK_RUNS runs, when ``on_cut`` is
    called, so that each block of runs has rows of its own.
    """

    def __init__(self, spans: int = 1, keep_history: bool = False, spool: Path | None = None) -> None:
        def place(name: str) -> Path | None:
            return None if spool is None else spool / name

        self.requests = Rows(REQUEST_COLUMNS, place("requests"))
        self.runs = Rows(simulated_run_columns(spans), place("runs"))
        self._unmixed = [0.0] * (2 * spans)
        self.transfers = Rows(TRANSFER_COLUMNS, place("transfers"))
        self.gaps = Rows(GAP_COLUMNS, place("gaps"))
        self.chunks = Rows(CHUNK_COLUMNS, place("chunks"))
        self.stays = Rows(STAY_COLUMNS, place("stays"))
        self.cuts: list[tuple[int, int]] = []
        self.on_cut: Callable[[], None] = lambda: None
        self._runs_to_cut = BLOCK_RUNS
        self.rejected: list[Demand] = []
        self.finished: list[ServedRequest] = []
        self.history: list[tuple[str, int, float]] | None = [] if keep_history else None
        self.arrivals = 0
        self.preemptions = 0

    @property
    def presence(self) -> Presence:
        """Who was in which runs."""
        return Presence(self.chunks, self.stays, self.cuts)

    def note(self, event: str, request: Request, time_s: float) -> None:
        """Adds an event to the history, where one is kept."""
        if self.history is not None:
            self.history.append((event, request.index, time_s))

    def preempted(self, request: ServedRequest, time_s: float) -> None:
        """A request lost its cache at ``time_s``, where its last token was made if it has one."""
        self.preemptions += 1
        self.stalled(request, time_s)
        self.note("preempt", request, time_s)

    def paused(self, request: ServedRequest, time_s: float) -> None:
        """A request waits with its KV until its next block is free."""
        self.stalled(request, time_s)
        self.note("pause", request, time_s)

    def stalled(self, request: ServedRequest, time_s: float) -> None:
        """A request makes no tokens from now on, though it has begun to."""
        if request.generated_tokens and request.lost_s < 0:
            request.lost_s = time_s

    def went_on(self, request: ServedRequest, token_s: float) -> bool:
        """A request makes its next token at ``token_s``; returns whether that ends a pause."""
        paused = request.lost_s >= 0
        if paused:
            self.gaps.append((token_s, token_s - request.lost_s))
            request.lost_s = -1.0
        return paused

    def admitted(self, request: ServedRequest, replica: int, time_s: float) -> None:
        """A request got its blocks."""
        if request.admitted_s < 0:
            request.admitted_s = time_s
        request.replica = replica
        self.note("admit", request, time_s)

    def fetched(self, request: ServedRequest, time_s: float) -> None:
        """A request's KV has been swapped in; what it waits after a preemption is a pause between tokens."""
        if request.fetched_s < 0 and not request.preemptions:
            request.fetched_s = time_s
        self.note("fetch", request, time_s)

    def started(self, request: ServedRequest, time_s: float) -> None:
        """A prompt is computed: the first token, or the next one after a preemption."""
        self.went_on(request, time_s)
        if request.first_token_s < 0:
            request.first_token_s = time_s
        self.note("start", request, time_s)

    def ended(self, request: ServedRequest, time_s: float) -> None:
        """A request has all its tokens."""
        request.finished_s = time_s
        self.requests.append(request.row())
        if self.history is not None:
            self.finished.append(request)
        self.note("finish", request, time_s)

    def ran(
        self, replica: int, start_s: float, run: Run, waiting: int, end_bytes: float,
        held: tuple[float, float, float], decodes: list[float] | None,
    ) -> None:  # fmt: skip
        """A run of iterations is over; ``end_bytes``: KV of requests being served, ``held``: bytes of idle sessions in
        HBM, of host memory and of disk; ``decodes``: what those who decode beside prompts touch."""
        batch, plan = run.batch, run.plan
        self.runs.append(
            (
                replica,
                start_s,
                run.iterations,
                run.piece.first_s,
                run.piece.growth_s,
                batch.sequences,
                batch.sequences - len(plan.chunks),
                batch.new_tokens,
                batch.decode_tokens,
                waiting,
                run.serving_bytes,
                end_bytes,
                run.resumed,
                *held,
                *batch.pairs,
                *batch.pairs_growth,
                *batch.touched,
                *batch.touched_growth,
                run.slowed_s,
                *(decodes or self._unmixed),
            )
        )
        self._runs_to_cut -= 1
        if not self._runs_to_cut:
            self._runs_to_cut = BLOCK_RUNS
            self.on_cut()
            self.cuts.append((len(self.chunks), len(self.stays)))

    def copied(
        self, replica: int, copy: Copy, session: int, request: int, tokens: int, held: tuple[float, float, float]
    ) -> None:
        """A copy between tiers of a replica has ended (its number; links count the replicas of their own nodes)."""
        self.transfers.append(
            (
                len(self.transfers),
                replica,
                session,
                request,
                copy.source,
                copy.target,
                tokens,
                copy.moved_bytes,
                copy.descriptors,
                copy.ordered_s,
                copy.start_s,
                copy.end_s,
                *held,
            )
        )
