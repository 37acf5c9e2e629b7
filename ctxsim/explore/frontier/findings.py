"""What the road to a short context's cost comes to, in sentences: what is reached and by what, and what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ctxsim.explore.frontier.frontier import Frontier, Reach
from ctxsim.explore.frontier.scales import EFFORTS, RISKS
from ctxsim.explore.frontier.trial import NAMES, QUANTITIES, Tried
from ctxsim.human import human

WOULD_DO: Mapping[str, str] = {
    "concurrent_sessions": "KV would have to be {} times smaller yet, or the room for it as much larger",
    "prefill_s": "it would take {} times the FLOP/s yet",
    "decode_answer_s": "a step would have to read {} times less yet, or HBM be as much faster",
    "switch_s": "KV would have to be {} times smaller yet, or the host link as much faster",
}
"""What a quantity follows (arXiv 2405.08944), and so what would close its gap."""


def finding(found: Frontier) -> str:
    """In a sentence: how many of the four quantities can be at parity, by what, and which cannot."""
    there = [_by(reach) for reach in found.reaches if reach.reached_by is not None]
    not_there = [_short(found, reach) for reach in found.reaches if reach.reached_by is None]
    words = f"{_where(found)} can be at parity with {_target(found)} in {len(there)} of {len(QUANTITIES)} quantities"
    return "; ".join([f"{words}: {', '.join(there)}" if there else words, *_not(not_there)])


def together(found: Frontier) -> str:
    """In a sentence: the stack that brings most of them to parity at once, and what it costs."""
    one, ends = found.together, (found.own, found.target)
    number = len(found.at_parity(one))
    own, short = (human("n_usd", end.usd) if end.fits else "a session that does not fit" for end in ends)
    return (
        f"at once, {one.stack} brings {number} of them to parity ({_takes(one)}): {human('n_usd', one.usd)} a session, "
        f"against {own} without techniques and {short} at {found.target_tokens:,} tokens"
    )


def kv_alone(found: Frontier) -> str:
    """In a sentence: what would be at parity if KV weighed nothing, and by how much the rest would miss it."""
    values = found.limit.without_kv
    misses = {name: values[name] / found.target.measured.values[name] for name in values}
    beyond = [name for name, ratio in misses.items() if ratio > 1 + found.within_ratio]
    there = [NAMES[name] for name in QUANTITIES if name not in beyond]
    words = f"if KV weighed nothing {_listed(there)} would be at parity"
    if not beyond:
        return words
    rest = (f"{NAMES[n]} would not: {human(n, values[n])}, {times(misses[n])} times the target's" for n in beyond)
    ratio = found.limit.prefill_flop / found.target_limit.prefill_flop
    return f"{words}; {'; '.join(rest)} (a prompt has {times(ratio)} times the FLOP)"


def needs(found: Frontier) -> Iterator[str]:
    """A sentence for each quantity that no stack brings to parity: by how much it is missed, and what would do."""
    for reach in found.reaches:
        if reach.reached_by is None:
            would_do = WOULD_DO[reach.quantity].format(times(reach.missing))
            yield f"{_short(found, reach)}: {would_do}{_linear(found, reach)}"


def _linear(found: Frontier, reach: Reach) -> str:
    """Of prefill, what no shape of attention can change."""
    if reach.quantity != "prefill_s":
        return ""
    left = found.best_prefill.without_pairs["prefill_s"]
    ratio = left / reach.target
    words = f"; without any query-key pair {human('prefill_s', left)} would be left"
    if ratio <= 1 + found.within_ratio:
        return f"{words}, so cheaper attention would be enough"
    return f"{words}, so what grows with each token alone would have to be {times(ratio)} times cheaper as well"


def times(ratio: float) -> str:
    """A ratio, to four digits."""
    return f"{ratio:,.4g}" if ratio < 1000 else f"{ratio:,.0f}"


def _where(found: Frontier) -> str:
    scenario = found.scenario
    machine = f"{scenario.deployment.ranks} x {scenario.hardware.name}"
    return f"{found.session.document_tokens:,} tokens of {scenario.model.name} on {machine}"


def _target(found: Frontier) -> str:
    within = f", within {100 * found.within_ratio:g} %" if found.within_ratio else ""
    return f"{found.target_tokens:,}{within}"


def _by(reach: Reach) -> str:
    assert reach.reached_by is not None
    return f"{NAMES[reach.quantity]} by {reach.reached_by.stack} ({_takes(reach.reached_by)})"


def _takes(one: Tried) -> str:
    return f"training {EFFORTS[one.effort]}, retrieval {RISKS[one.risk]}"


def _short(found: Frontier, reach: Reach) -> str:
    """By how much a quantity is missed."""
    best = human(reach.quantity, reach.best.measured.values[reach.quantity])
    any_number = "of any number that make it better alone"
    number = any_number if reach.quantity == "prefill_s" else f"of at most {found.most} techniques"
    return (
        f"{NAMES[reach.quantity]} is {best} at best (by {reach.best.stack}, {number}) against "
        f"{human(reach.quantity, reach.target)}, a factor of {times(reach.missing)} short"
    )


def _not(short: list[str]) -> list[str]:
    return [f"not in {len(short)}: {', '.join(short)}"] if short else []


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:]))) or "nothing"
