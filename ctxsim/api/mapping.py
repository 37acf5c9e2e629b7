"""The calls that map idle KV: what to do with it, and where it outgrows its room."""

from __future__ import annotations

from collections.abc import Sequence

from ctxsim.api.deciding import Source, document_from
from ctxsim.api.maps import CliffResult, ResidencyResult
from ctxsim.explore.cliff import Over
from ctxsim.explore.cliff import cliff as find_cliff
from ctxsim.explore.executors import local
from ctxsim.explore.residency.answer import answer_of
from ctxsim.explore.residency.check import check_map
from ctxsim.explore.residency.machines import break_even_by_machine
from ctxsim.explore.residency.map import residency_map
from ctxsim.spec.scenario import Scenario, resolve_scenario


def residency(
    base: Source, *, contexts: str | None = None, idles: str | None = None, link_ratios: Sequence[float] = (1.0,),
    price_ratios: Sequence[float] = (1.0,), return_ratios: Sequence[float] = (1.0,), machines: Sequence[str] = (),
    check: int = 0, seed: int = 0, workers: int = 1,
) -> ResidencyResult:  # fmt: skip
    """What to do with a session's KV while its user thinks: keep, swap, recompute or drop.

    contexts, idles: axes as after ``--vary KEY=``, ``"log:1000:200000:20"``, ``"log:1 s:3600 s:20"``. The ratios are
    further axes: of the host link, of the accelerator's price, and the chance that the user comes back. machines: where
    swap and recompute break even there. check: so many points are simulated too, drawn by the seed.
    """
    scenario = _scenario(base)
    mapped = residency_map(
        scenario, contexts=contexts, idles=idles, link_ratios=link_ratios, price_ratios=price_ratios,
        return_ratios=return_ratios,
    )  # fmt: skip
    tokens = mapped.own_tokens or mapped.contexts[-1]
    beside = tuple(break_even_by_machine(document_from(base), machines, tokens)) if machines else ()
    points = tuple(check_map(mapped, check, seed, local(workers))) if check else ()
    return ResidencyResult(mapped, answer_of(mapped, beside, points))


def cliff(base: Source, *, over: Over = "load", replications: int = 5, workers: int = 1) -> CliffResult:
    """Where the working set outgrows HBM and what lies below it: predicted, and found by bisection on simulations.

    over: ``load`` raises users or arrivals, ``context`` the length of documents.
    """
    scenario = _scenario(base)
    return CliffResult(scenario, find_cliff(scenario, over=over, replications=replications, executor=local(workers)))


def _scenario(base: Source) -> Scenario:
    return base if isinstance(base, Scenario) else resolve_scenario(document_from(base))
