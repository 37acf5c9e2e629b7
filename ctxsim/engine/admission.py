"""Who may run next, and what gives way to it."""

from __future__ import annotations

from ctxsim.engine.cache import Room
from ctxsim.engine.core import EngineCore, Plan
from ctxsim.engine.request import Request


def admit_next(core: EngineCore, plan: Plan, reserved_bytes: float) -> Request | None:
    """Admits the next request, with ``reserved_bytes`` left free; None where it has to wait.

    First come first served. Where the residency policy may refuse to give sessions up for a newcomer, newcomers wait
    apart, and those who have KV in HBM pass them: else neither would ever be served. Who had to wait is looked at again
    when something may have changed, and not at every boundary.
    """
    if core.seats <= 0:
        return None
    version = -1
    request = None
    while request is None and version != core.holdings.version:
        version = core.holdings.version
        request = _of_the_held(core, plan, reserved_bytes) or _of_the_waiting(core, plan, reserved_bytes)
    if request is not None:
        plan.admitted.append(request)
    return request


def _of_the_held(core: EngineCore, plan: Plan, reserved_bytes: float) -> Request | None:
    """The first of the held."""
    if not core.held or core.held_version == core.holdings.version:
        return None
    if _claim(core, core.held[0]) and _try(core, plan, core.held[0], reserved_bytes):
        return core.held.popleft()
    core.held_version = core.holdings.version
    return None


def _of_the_waiting(core: EngineCore, plan: Plan, reserved_bytes: float) -> Request | None:
    holds = core.cache.policy.holds
    while len(core.waiting):
        request = core.waiting.first()
        if core.tried == (request, core.holdings.version):
            return None
        if core.claimant is not request:
            plan.let_go |= core.unclaim()
        if not _claim(core, request):
            return None
        newcomer = holds and not _is_resident(core, request)
        if not (newcomer and core.held) and _try(core, plan, request, reserved_bytes):
            core.claimant = None
            return core.waiting.pop()
        if not newcomer:
            core.claimant = request if request.home is not None else None
            core.tried = request, core.holdings.version
            return None
        core.claimant = None
        if request.home is not None and core.held:
            core.cache.unclaim(request)
        core.held.append(core.waiting.pop())
        core.held_version = core.holdings.version
    return None


def _claim(core: EngineCore, request: Request) -> bool:
    """Whether the request is this replica's to serve, its prefix held; another replica may be making room for it."""
    if request.home is None:
        core.cache.claim(request)
    return request.home is core.cache


def _is_resident(core: EngineCore, request: Request) -> bool:
    """Whether its session has KV in HBM, or it shares prefixes with anyone: then nothing may be refused to it."""
    return request.hashes is not None or core.cache.has_in_hbm(request)


def _try(core: EngineCore, plan: Plan, request: Request, reserved_bytes: float) -> bool:
    """Whether a request that has claimed its prefix runs from now on; the claim stays while room is being made."""
    forced = _is_resident(core, request)
    prompt_bytes = core.cache.missing_bytes(request) + reserved_bytes
    if prompt_bytes > core.free_bytes:
        core.cache.drop_stale(request)
    missing_bytes = prompt_bytes - core.free_bytes
    if missing_bytes > 0:
        room = core.cache.make_room(missing_bytes, forced)
        if room is Room.REFUSED or (room is Room.COMING and _takes_growth(core, reserved_bytes)):
            plan.let_go |= request is core.claimant
            core.cache.unclaim(request)
        if room is not Room.FREE:
            return False
    core.start(request)
    return True


def _takes_growth(core: EngineCore, reserved_bytes: float) -> bool:
    """Whether a claim holds on to idle KV that those who decode were to displace in the next iteration."""
    return core.free_bytes + core.cache.droppable_bytes < reserved_bytes
