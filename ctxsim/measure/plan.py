"""What is measured, in which order: the grids of every family, cut to what a budget of time can bear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

from ctxsim.cost.curves.elementwise import PASSES
from ctxsim.measure.guesses import Guess, guess_of
from ctxsim.measure.order import coarse_to_fine, shared
from ctxsim.measure.points import VALUE_BYTES, Family, Point
from ctxsim.measure.rotation import rotation
from ctxsim.measure.shapes import gemm_shapes, gemm_shapes_of, head_shapes, head_shapes_of, norm_widths

LEAST_RUNS = 5
"""Runs of a point, at least."""

WARM_UP_CALLS = 2
"""Calls before the first timed one."""

POINT_RATIO = 1 / 25
"""The share of the budget that a single point may take; a point that needs more is left out."""

RUNS_RATIO = 1 / 4_000
"""The share of the budget for which a point is repeated where its median is not stable sooner."""

FAIR_RATIO = 1 / 500
"""The share of the budget from which on a point waits: for every doubling of it as long as one a level finer."""

WEIGHTS: Mapping[Family, float] = {
    "gemm": 4, "prefill_attention": 3, "decode_attention": 3, "copy": 2, "all_reduce": 2, "launch": 1,
    "elementwise": 2, "host": 0.5,
}  # fmt: skip
"""Shares of the time that the families get while they have points left."""

DTYPES = {"cuda": ("bf16", "fp8"), "cpu": ("fp32", "bf16")}
"""Number formats by kind of device; from the second one on a format starts a level coarser."""

Grid = Sequence[tuple[int, Any]]
"""Entries with their levels, coarse to fine."""

MOST_CONTEXT_TOKENS = 4**10
_TOKENS = tuple(2**i for i in range(16))
_CPU_TOKENS = tuple(sorted({*_TOKENS, *range(1, 9)}))
_NEW_TOKENS = tuple(2**i for i in range(6, 18))
_PAST_TOKENS = (0, *(4**i for i in range(4, 11)))
_CONTEXTS = tuple(2**i for i in range(7, 21))
_SEQUENCES = tuple(2**i for i in range(9))
_LOOP_SEQUENCES = tuple(2**i for i in range(7))
_PREFILLS = (1, 4)
_SIZES_BYTES = tuple(4**i for i in range(6, 16))
_BLOCK_BYTES = tuple(4**i for i in range(6, 13))
_BLOCKS = (4, 4**2, 4**4, 4**6)
_SESSION_BYTES = tuple(2**i for i in range(22, 27))
_LAYERS = (1, 4, 16, 64)

SOONER_LEVELS = 2
"""By so many levels the shapes of models that are asked for come sooner."""

LEAST_WIDTH = 512
MOST_WEIGHTS = 2**25
"""Of a matrix that is measured on a CPU: narrower ones are launches, larger ones leave no time for others."""

VOCABULARY_RATIO = 16
"""Words of a vocabulary for each value of a hidden size, about what models have."""

MOST_BLOCKS_BYTES = 4**15
"""Bytes of a copy in blocks, at most."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the plan has to know of a device: "cuda" or "cpu", how many, last-level cache, and the threads of a CPU.

    models: shapes of these come before all others.
    """

    kind: str
    accelerators: int
    cache_bytes: int
    threads: int
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Costs:
    """Guessed times of points with everything about them: operands made, warm-up, and runs."""

    guess: Guess
    cache_bytes: int
    budget_s: float

    def of(self, point: Point, slower_ratio: float = 1.0) -> float:
        """Seconds that the point takes; ``slower_ratio``: measured calls over guessed ones."""
        call_s = self.guess.call_s(point) * slower_ratio
        runs_s = max((WARM_UP_CALLS + LEAST_RUNS) * call_s, self.budget_s * RUNS_RATIO)
        sets = rotation(point.touched_bytes, self.cache_bytes)
        return sets * self.guess.making_s(point) + runs_s


@dataclass(frozen=True, slots=True)
class Plan:
    """Points in the order in which they are measured.

    too_long: how many points of each family the budget rules out. empty: families that the device has nothing for.
    """

    points: tuple[Point, ...]
    too_long: Mapping[Family, int]
    empty: tuple[Family, ...]
    costs: Costs


def plan(subject: Subject, budget_s: float, families: Sequence[Family], dtypes: Sequence[str] | None = None) -> Plan:
    """The points of the families for that device, every beginning of which covers each family's range.

    dtypes: only these number formats, where a point has one.
    """
    costs = Costs(guess_of(subject.kind, subject.threads), subject.cache_bytes, budget_s)

    def wait(entry: tuple[int, Point]) -> float:
        return entry[0] + max(0.0, log2(costs.of(entry[1]) / (budget_s * FAIR_RATIO)))

    chosen = None if dtypes is None else {"", *dtypes}
    grids = {
        family: [(level, p) for level, p in GRIDS[family](subject) if chosen is None or p.dtype in chosen]
        for family in families
    }
    queues = {
        family: [point for _, point in sorted(grid, key=wait) if costs.of(point) <= budget_s * POINT_RATIO]
        for family, grid in grids.items()
    }
    too_long = {family: len(grid) - len(queues[family]) for family, grid in grids.items()}
    empty = tuple(family for family, grid in grids.items() if not grid)
    return Plan(tuple(shared(queues, WEIGHTS, costs.of)), too_long, empty, costs)


def _gemms(subject: Subject) -> Grid:
    """Tokens by matrix by number format."""
    tokens, shapes = (_CPU_TOKENS, _served_shapes()) if subject.kind == "cpu" else (_TOKENS, gemm_shapes())
    grid: Grid = coarse_to_fine(tokens, shapes)
    grid = _first(gemm_shapes_of(subject.models), grid, lambda shape: coarse_to_fine(tokens, [shape]))
    return _by_dtype(subject, grid, lambda dtype, m, shape: Point("gemm", dtype, m=m, n=shape[0], k=shape[1]))


def _served_shapes() -> list[tuple[int, int]]:
    """Matrices of a size that anybody would serve on a CPU."""
    return [(n, k) for n, k in gemm_shapes() if min(n, k) >= LEAST_WIDTH and n * k <= MOST_WEIGHTS]


def _prefills(subject: Subject) -> Grid:
    """Prompts and chunks of them after a past, by heads; windows are not among what torch's kernels can do."""
    grid = [
        (level, (heads, new, past, batch))
        for level, (heads, new, past, batch) in _by_heads(subject, _NEW_TOKENS, _PAST_TOKENS, _PREFILLS)
        if batch * max(new, past) <= MOST_CONTEXT_TOKENS
    ]
    return _by_dtype(subject, grid, _attention("prefill_attention"), formats=1 if subject.kind == "cuda" else 2)


def _decodes(subject: Subject) -> Grid:
    """One new token each of several sequences, by heads and context."""
    grid = [
        (level, (heads, 1, context - 1, batch))
        for level, (heads, context, batch) in _by_heads(subject, _CONTEXTS, _SEQUENCES)
        if batch * context <= 4 * MOST_CONTEXT_TOKENS
    ]
    return _by_dtype(subject, grid, _attention("decode_attention"), formats=1 if subject.kind == "cuda" else 2)


def _by_heads(subject: Subject, *axes: Sequence[Any]) -> Grid:
    """Head shapes by these axes."""
    grid = coarse_to_fine(head_shapes(), *axes)
    return _first(head_shapes_of(subject.models), grid, lambda shape: coarse_to_fine([shape], *axes))


def _first(shapes: Sequence[Any], grid: Grid, own: Callable[[Any], Grid]) -> Grid:
    """The grid after the shapes' own grids, whose levels are of their other axes alone; nothing twice."""
    asked = [(max(0, level - SOONER_LEVELS), values) for shape in shapes for level, values in own(shape)]
    values_asked = {values for _, values in asked}
    return _merged([asked, [(level, values) for level, values in grid if values not in values_asked]])


def _attention(family: Family) -> Callable[..., Point]:
    def point(dtype: str, heads: tuple[int, int, int], new: int, past: int, batch: int) -> Point:
        query_heads, kv_heads, size = heads
        return Point(
            family, dtype, dtype, batch=batch, heads=query_heads, kv_heads=kv_heads, head_dim=size,
            new_tokens=new, past_tokens=past,
        )  # fmt: skip

    return point


def _copies(subject: Subject) -> Grid:
    """Whole copies by size, and copies in blocks; between host and device also unpinned, both ways, beside a GEMM.

    On a CPU those beside passes are of sessions by their size and their number of layers.
    """
    if subject.kind == "cpu":
        return _merged(
            [
                _whole("device", pinned=False),
                _blocked("device", pinned=False),
                [
                    (level, _copy("device", False, "gemm", size // layers, layers))
                    for level, (size, layers) in coarse_to_fine(_SESSION_BYTES, _LAYERS)
                ],
            ]
        )
    return _merged(
        [
            _whole("to_device"), _whole("to_host"), _blocked("to_host"), _blocked("to_device"),
            _whole("device", pinned=False), _whole("both"), _whole("to_host", beside="gemm"),
            _whole("to_device", beside="gemm"), _whole("to_device", pinned=False), _whole("to_host", pinned=False),
            _blocked("device", pinned=False),
        ]
    )  # fmt: skip


def _whole(direction: Any, *, pinned: bool = True, beside: Any = "nothing") -> Grid:
    return [(level, _copy(direction, pinned, beside, size, 1)) for level, (size,) in coarse_to_fine(_SIZES_BYTES)]


def _blocked(direction: Any, *, pinned: bool = True, beside: Any = "nothing") -> Grid:
    return [
        (level, _copy(direction, pinned, beside, size, count))
        for level, (size, count) in coarse_to_fine(_BLOCK_BYTES, _BLOCKS)
        if size * count <= MOST_BLOCKS_BYTES
    ]


def _copy(direction: Any, pinned: bool, beside: Any, block_bytes: int, descriptors: int) -> Point:
    return Point(
        "copy",
        moved_bytes=block_bytes * descriptors,
        block_bytes=block_bytes,
        descriptors=descriptors,
        direction=direction,
        pinned=pinned,
        beside=beside,
    )


def _all_reduces(subject: Subject) -> Grid:
    """Sizes by number of devices; none where there is one device."""
    counts = [2**i for i in range(1, subject.accelerators.bit_length())]
    grid = coarse_to_fine(counts, _SIZES_BYTES)
    return _by_dtype(
        subject, grid, lambda dtype, count, size: Point("all_reduce", dtype, moved_bytes=size, accelerators=count),
        formats=1,
    )  # fmt: skip


def _launches(subject: Subject) -> Grid:
    """Issuing, running in a graph, and issuing and waiting; a CPU only issues."""
    if subject.kind == "cpu":
        return [(0, Point("launch", direction="to_device", descriptors=1))]
    return [(0, Point("launch", direction=way, descriptors=1)) for way in ("to_device", "device", "both")]


def _small_kernels(subject: Subject) -> Grid:
    """Every small kernel on rows of the models' widths; words are chosen among as many as vocabularies have."""

    def point(dtype: str, variant: str, m: int, n: int) -> Point:
        moved_bytes = PASSES[variant] * m * n * VALUE_BYTES[dtype]
        return Point("elementwise", dtype, m=m, n=n, moved_bytes=moved_bytes, variant=variant)

    grids = [
        [(level, (name, m, VOCABULARY_RATIO * n if name == "sampling" else n)) for level, (m, n) in
         coarse_to_fine(_SEQUENCES if name == "sampling" else _TOKENS, norm_widths())]
        for name in PASSES
    ]  # fmt: skip
    return _by_dtype(subject, _merged(grids), point, formats=1 if subject.kind == "cuda" else 2)


def _loops(subject: Subject) -> Grid:
    """The engine's loop by number of sequences."""
    return [(level, Point("host", batch=batch)) for level, (batch,) in coarse_to_fine(_LOOP_SEQUENCES)]


GRIDS: Mapping[Family, Callable[[Subject], Grid]] = {
    "gemm": _gemms, "prefill_attention": _prefills, "decode_attention": _decodes, "copy": _copies,
    "all_reduce": _all_reduces, "launch": _launches, "elementwise": _small_kernels,
    "host": _loops,
}  # fmt: skip
"""All points of a family for a device, coarse to fine."""


def _by_dtype(subject: Subject, grid: Grid, point: Callable[..., Point], formats: int = 2) -> Grid:
    """The grid in each of the device's first number formats."""
    dtypes = DTYPES[subject.kind][:formats]
    return _merged(
        [[(level + place, point(dtype, *values)) for level, values in grid] for place, dtype in enumerate(dtypes)]
    )


def _merged(grids: Sequence[Grid]) -> Grid:
    """All entries by level; within a level in turns, one of each grid that has one."""
    in_turns = [(level, i, turn, entry) for turn, grid in enumerate(grids) for i, (level, entry) in enumerate(grid)]
    return [(level, entry) for level, _, _, entry in sorted(in_turns, key=lambda place: place[:3])]
