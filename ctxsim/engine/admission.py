"""Who may run next, and what gives way to it."""

from __future__ import annotations

from ctxsim.engine.cache import Room
from ctxsim.engine.core import EngineCore, Plan
from ctxsim.engine.request import Request
from ctxsim.engine.tiers import HBM


def admit_next(core: EngineCore, plan: Plan, reserved_bytes: float) -> Request | None:
    """Admits the next request, with ``reserved_bytes`` left free; None where it has to wait.

    First come first served. Where the residency policy may refuse to give sessions up for a newcomer, newcomers wait
    apart, and those who have KV in HBM pass them: else neither would ever be served.
    """
    if core.seats <= 0:
        return None
    request = _of_the_held(core, reserved_bytes) or _of_the_waiting(core, reserved_bytes)
    if request is not None:
        plan.admitted.append(request)
    return request


def _of_the_held(core: EngineCore, reserved_bytes: float) -> Request | None:
    """The first of the held, looked at again only when something may have changed."""
    version = core.cache.holdings.version
    if not core.held or core.held_version == version:
        return None
    if _claim(core, core.held[0]) and _try(core, core.held[0], reserved_bytes):
        return core.held.popleft()
    core.held_version = core.cache.holdings.version
    return None


def _of_the_waiting(core: EngineCore, reserved_bytes: float) -> Request | None:
    holds = core.cache.policy.holds
    while len(core.waiting):
        request = core.waiting.first()
        if not _claim(core, request):
            return None
        newcomer = holds and not _is_resident(request)
        if not (newcomer and core.held) and _try(core, request, reserved_bytes):
            return core.waiting.pop()
        if not newcomer:
            return None
        if request.home is not None and core.held:
            core.cache.unclaim(request)
        core.held.append(core.waiting.pop())
        core.held_version = core.cache.holdings.version
    return None


def _claim(core: EngineCore, request: Request) -> bool:
    """Whether the request is this replica's to serve, its prefix held; another replica may be making room for it."""
    if request.home is None:
        core.cache.claim(request)
    return request.home is core.cache


def _is_resident(request: Request) -> bool:
    """Whether it has KV in HBM already, or shares prefixes with whoever comes: then nothing may be refused to it."""
    assert request.tail is not None
    return request.hashes is not None or any(extent.lies_in(HBM) for extent in request.tail.path())


def _try(core: EngineCore, request: Request, reserved_bytes: float) -> bool:
    """Whether a request that has claimed its prefix runs from now on; the claim stays while room is being made."""
    missing_bytes = core.cache.missing_bytes(request) - (core.free_bytes - reserved_bytes)
    if missing_bytes > 0:
        room = core.cache.make_room(missing_bytes, forced=_is_resident(request))
        if room is Room.REFUSED:
            core.cache.unclaim(request)
        if room is not Room.FREE:
            return False
    core.start(request)
    return True
