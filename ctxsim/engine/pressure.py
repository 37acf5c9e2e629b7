"""What happens when the sequences that decode need more blocks than are free."""

from __future__ import annotations

from ctxsim.engine.cache import Room
from ctxsim.engine.core import EngineCore, Plan


def make_growth_fit(core: EngineCore, plan: Plan) -> float:
    """Sees to it that every decoding sequence can make its next token; returns the bytes that they take for it.

    Idle caches give way first, then what is held for someone who waits. While copies make room for good, the last
    admitted sequence pauses with its KV; where nothing else gives way it is preempted. Who is paused asks for room anew
    each time: what came free may be gone.
    """
    if core.paused:
        plan.resumed = [request for request in core.running if request in core.paused]
        for request in plan.resumed:
            core.resume(request)
    while True:
        growth_bytes = core.decodes.demand_bytes(1)
        missing_bytes = growth_bytes - core.free_bytes
        if missing_bytes <= 0 or missing_bytes <= core.cache.droppable_bytes:
            return growth_bytes
        _relieve(core, plan, missing_bytes)


def _relieve(core: EngineCore, plan: Plan, missing_bytes: float) -> None:
    """One step towards room that nothing gives of itself."""
    room = core.cache.make_room(max(missing_bytes, _ahead_bytes(core)), forced=True)
    if room is Room.COMING or (room is Room.REFUSED and core.fetching and len(core.decodes) == 1):
        request = core.decoding()[-1]
        core.pause(request)
        if request in plan.resumed:
            plan.resumed.remove(request)
        else:
            plan.paused.append(request)
    elif room is Room.REFUSED and core.unclaim():
        plan.let_go = True
    elif room is Room.REFUSED:
        request = next(r for r in reversed(core.running) if r not in core.fetching)
        core.preempt(request)
        plan.preempted.append(request)
        if request in plan.resumed:
            plan.resumed.remove(request)


def _ahead_bytes(core: EngineCore) -> float:
    """What is missing for every sequence to have its next block, as far as idle caches could give way for it: room for
    that is made at once, and not block by block."""
    missing_bytes = core.decodes.demand_bytes(core.layout.block_size) - core.free_bytes
    return min(missing_bytes, core.cache.holdings.idle_bytes)
