"""What a simulation writes down: one row a request, one row a run of equal iterations, never one a token."""

from __future__ import annotations

from ctxsim.cost import Piece
from ctxsim.engine import Plan, Request
from ctxsim.geometry import BatchTotals
from ctxsim.workload.demand import Demand


class Run:
    """A run of equal iterations under way: what it computes, what that costs, and how many there are.

    open: whether an arrival would cut it short. start_used_bytes: KV blocks taken when it began.
    """

    __slots__ = ("batch", "iterations", "open", "piece", "plan", "start_used_bytes")

    def __init__(self, plan: Plan, batch: BatchTotals, piece: Piece, iterations: int, start_used_bytes: float) -> None:
        self.plan = plan
        self.batch = batch
        self.piece = piece
        self.iterations = iterations
        self.open = plan.open
        self.start_used_bytes = start_used_bytes


class ServedRequest(Request):
    """A request with its times: arrival, first admission, first token, end; and since when it is preempted."""

    __slots__ = ("admitted_s", "arrival_s", "demand", "finished_s", "first_token_s", "lost_s", "replica")

    def __init__(self, demand: Demand, replica: int) -> None:
        super().__init__(demand.index, demand.prompt_tokens, demand.output_tokens)
        self.demand = demand
        self.arrival_s = demand.arrival_s
        self.replica = replica
        self.admitted_s = -1.0
        self.first_token_s = -1.0
        self.finished_s = -1.0
        self.lost_s = -1.0


class Journal:
    """Rows of one simulation, in the order in which things happened.

    finished, rejected: requests. runs: tuples in the order of records.RUN_COLUMNS, then pairs, their growth, touched
    and its growth by span. gaps_s: (end, pause) between two tokens of a request that
    a preemption parted. history: (event,
    request index, time) where asked for.
    """

    def __init__(self, keep_history: bool = False) -> None:
        self.finished: list[ServedRequest] = []
        self.rejected: list[Demand] = []
        self.runs: list[tuple[float, ...]] = []
        self.gaps_s: list[tuple[float, float]] = []
        self.history: list[tuple[str, int, float]] | None = [] if keep_history else None
        self.arrivals = 0
        self.preemptions = 0

    def note(self, event: str, request: Request, time_s: float) -> None:
        """Adds an event to the history, where one is kept."""
        if self.history is not None:
            self.history.append((event, request.index, time_s))

    def preempted(self, request: ServedRequest, time_s: float) -> None:
        """A request lost its cache at ``time_s``, where its last token was made if it has one."""
        self.preemptions += 1
        if request.generated_tokens and request.lost_s < 0:
            request.lost_s = time_s
        self.note("preempt", request, time_s)

    def admitted(self, request: ServedRequest, time_s: float) -> None:
        """A request got its blocks."""
        if request.admitted_s < 0:
            request.admitted_s = time_s
        self.note("admit", request, time_s)

    def started(self, request: ServedRequest, time_s: float) -> None:
        """A prompt is computed: the first token, or the next one after a preemption."""
        if request.lost_s >= 0:
            self.gaps_s.append((time_s, time_s - request.lost_s))
            request.lost_s = -1.0
        if request.first_token_s < 0:
            request.first_token_s = time_s
        self.note("start", request, time_s)

    def ended(self, request: ServedRequest, time_s: float) -> None:
        """A request has all its tokens."""
        request.finished_s = time_s
        self.finished.append(request)
        self.note("finish", request, time_s)

    def ran(self, replica: int, start_s: float, run: Run, waiting: int, end_used_bytes: float) -> None:
        """A run of iterations is over."""
        batch = run.batch
        self.runs.append(
            (
                replica,
                start_s,
                run.iterations,
                run.piece.first_s,
                run.piece.growth_s,
                batch.sequences,
                batch.sequences - len(run.plan.chunks),
                batch.new_tokens,
                batch.decode_tokens,
                waiting,
                run.start_used_bytes,
                end_used_bytes,
                *batch.pairs,
                *batch.pairs_growth,
                *batch.touched,
                *batch.touched_growth,
            )
        )
