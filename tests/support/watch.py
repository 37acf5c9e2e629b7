"""What happens inside an engine while a case runs, counted: what no row tells of."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from ctxsim.engine import DISK, HBM, HOST, EngineCore, KvCache, Move
from ctxsim.engine.extents import Extent, PrefixTree
from ctxsim.engine.holdings import Holdings
from ctxsim.engine.request import Request
from ctxsim.engine.stores import Stores
from ctxsim.records import Table
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.replica import Replica
from support.cases import Case
from support.residency import POLICIES, ROUTERS, SCHEDULERS

COPIED = {
    (HBM, HOST): "swapped out",
    (HOST, HBM): "swapped in",
    (HOST, DISK): "moved on to disk",
    (DISK, HBM): "fetched from disk",
}
CUT_BY = {"_drop_tail": "tail dropped in part", "_follow_session": "extent cut", "_follow_hashes": "extent cut"}


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Counts what the engines do that run within the block."""
    seen: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, watch in _WATCHES:
            patch.setattr(owner, name, watch(getattr(owner, name), seen))
        yield seen


def _before(look: Callable[..., str | None]) -> Callable[..., Any]:
    """A watch that looks at what a method is called with."""

    def watch(method: Callable[..., Any], seen: Counter[str]) -> Callable[..., Any]:
        def watched_method(*given: Any, **named: Any) -> Any:
            if (what := look(*given, **named)) is not None:
                seen[what] += 1
            return method(*given, **named)

        return watched_method

    return watch


def _after(look: Callable[..., str | None]) -> Callable[..., Any]:
    """A watch that looks at what a method was called with once it is done, and at what it returned."""

    def watch(method: Callable[..., Any], seen: Counter[str]) -> Callable[..., Any]:
        def watched_method(*given: Any, **named: Any) -> Any:
            result = method(*given, **named)
            if (what := look(result, *given, **named)) is not None:
                seen[what] += 1
            return result

        return watched_method

    return watch


def _held_prefix(_: Holdings, tail: Extent) -> str | None:
    for extent in tail.path():
        if extent.move is not None and not extent.users:
            if extent.move.write_through:
                return "claimed while it is written through"
            return "taken back while leaving" if extent.move.source == HBM else "taken back while going to disk"
    return "prefix shared by two requests" if any(e.users for e in tail.path()) else None


def _brought(_: Holdings, extent: Extent, request: Request) -> str | None:
    fetched_already = extent.move is not None and extent.move.target == HBM
    return "two wait for one copy" if fetched_already else None


def _forgotten(cache: KvCache, session: int) -> str | None:
    joining = sys._getframe(2).f_code.co_name == "_join"
    return "forgotten where it has left KV" if joining and ~session in cache.holdings.tree.root.children else None


def _discarded(_: object, holdings: Holdings, extent: Extent) -> str | None:
    return "doomed while in use" if extent.doomed and extent.users else None


def _called_back(core: EngineCore, session: int) -> str | None:
    return "held no more" if any(request.session == session for request in core.held) else None


def _moved_on(_: Journal, request: ServedRequest, replica: int, time_s: float) -> str | None:
    return "moved to another replica" if request.replica not in (-1, replica) else None


def _copied(_: Holdings, move: Move) -> str | None:
    return "written through" if move.write_through else COPIED[move.source, move.target]


_WATCHES: tuple[tuple[type, str, Callable[..., Any]], ...] = (
    (KvCache, "offload_idle", _before(lambda *_: "preempted by swap")),
    (PrefixTree, "cut", _before(lambda *_: CUT_BY.get(sys._getframe(2).f_code.co_name))),
    (PrefixTree, "join", _after(lambda joined, _, extent: None if joined is extent else "extents joined")),
    (Holdings, "hold", _before(_held_prefix)),
    (Holdings, "bring", _before(_brought)),
    (Holdings, "discard", _after(_discarded)),
    (Holdings, "finish", _before(_copied)),
    (KvCache, "forget", _before(_forgotten)),
    (KvCache, "unclaim", _before(lambda *_: "claim let go")),
    (KvCache, "_worth_fetching", _after(lambda kept, _, tail: None if kept is tail else "not worth fetching")),
    (EngineCore, "unclaim", _after(lambda there, _: "claim taken back" if there else None)),
    (EngineCore, "_call_back", _before(_called_back)),
    (Stores, "take_back", _before(lambda *_: "store fuller than it can be")),
    (Journal, "admitted", _before(_moved_on)),
    (Replica, "rate_changed", _before(lambda self, _: "slowed by copies" if self._run else None)),
    (Replica, "_next_run", _after(lambda _, self: "newcomer held" if self.core.held else None)),
    (Replica, "_note_stalls", _before(lambda _, run: "paused and resumed" if run.plan.resumed else None)),
    (Replica, "catch_up", _before(lambda self: "router looked at a replica that runs" if self._run else None)),
)

FEATURES = (
    *COPIED.values(), *sorted(set(CUT_BY.values())), "written through", "preempted by swap", "preempted by recompute",
    "paused and resumed", "taken back while leaving", "taken back while going to disk",
    "claimed while it is written through", "newcomer held", "held no more", "forgotten where it has left KV",
    "forgotten at the horizon", "prefix shared by two requests", "two wait for one copy", "extents joined",
    "doomed while in use", "claim let go", "claim taken back", "not worth fetching", "store fuller than it can be",
    "slowed by copies", "router looked at a replica that runs", "moved to another replica", "found in HBM",
    "found in host memory", "found on disk", "shared by hashes", "hashes across blocks", "found of windows or states",
    "zero think time", "descriptors", "root shared by two replicas",
    *(f"policy {name}" for name in POLICIES), *(f"scheduler {name}" for name in SCHEDULERS),
    *(f"router {name}" for name in ROUTERS),
)  # fmt: skip
"""What a corpus of cases must show."""

FOUND_IN = {"hbm": "found in HBM", "host": "found in host memory", "disk": "found on disk"}


def residency_features(case: Case, journal: Journal, seen: Counter[str]) -> Counter[str]:
    """Which of FEATURES a macro-stepped run of a case showed, ``seen`` while it was watched."""
    serving, router = case.scenario.serving, case.scenario.deployment.router
    requests, copies = journal.requests.table(), journal.transfers.table()
    found = {name: bool(requests[f"{tier}_hit_tokens"].any()) for tier, name in FOUND_IN.items()}
    hit = any(found.values())
    block, of_hash = case.cost.layout.block_size, case.hash_tokens
    happened = {
        **{name: count > 0 for name, count in seen.items()},
        **found,
        "preempted by recompute": journal.preemptions > seen["preempted by swap"],
        "forgotten at the horizon": case.scenario.run.horizon is not None
        and seen["forgotten where it has left KV"] > 0,
        "shared by hashes": of_hash > 0 and hit,
        "hashes across blocks": of_hash > 0 and hit and block % of_hash > 0 and of_hash % block > 0,
        "found of windows or states": hit and not case.cost.layout.divisible,
        "zero think time": hit and any(turn.think_s == 0 for user in case.talks for talk in user for turn in talk[1:]),
        "descriptors": len(copies) > 0 and bool(serving.copy_descriptor_overhead),
        "root shared by two replicas": _share_a_root(case, copies),
        f"policy {serving.residency}": hit,
        f"scheduler {serving.scheduler}": hit,
        f"router {router}": hit and len({r.replica for r in journal.finished}) > 1,
    }
    return Counter(name for name, did in happened.items() if did)


def _share_a_root(case: Case, copies: Table) -> bool:
    """Whether copies of two replicas behind one root went the same way at one time."""
    shared_by = case.scenario.hardware.host_link_shared_by
    for tier in ("source", "target"):
        mine = np.flatnonzero(copies[tier] == HBM)
        for i in mine:
            beside = (copies["start_s"][mine] < copies["end_s"][i]) & (copies["end_s"][mine] > copies["start_s"][i])
            others = copies["replica"][mine][beside]
            same_root = others // shared_by == copies["replica"][i] // shared_by
            if (same_root & (others != copies["replica"][i])).any():
                return True
    return False
