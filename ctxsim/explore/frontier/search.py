"""Which stacks of techniques are worth a look: combinations of those that no other of their form beats.

Left out, and counted:

    larger      a technique that takes more accelerators, unless it is asked for: that buys parity, no technique does
    idle        one that alone makes none of the four quantities better, nor dollars
    dominated   one that another of its form beats in all: quantities, dollars, training and risk, each alone. One form
                are formats of KV, shares that are evicted, windows, heads, hybrids with states ...: they differ in
                amounts alone
    refused     a stack that cannot be composed; no stack that has it is tried
    no gain     a stack in which one technique makes nothing better than the others are without it

Alone means over the long context and over the target's, as beside others a technique may meet as little KV as there.
The last is exact: without the technique the stack is at least as good in all, at no more training and risk. The others
are no law, since overlaps are worked out and not multiplied. ``exhaustive`` tries everything, and
tests/relations/test_frontier.py compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ctxsim.analysis.session import TypicalSession
from ctxsim.explore.executors import Executor
from ctxsim.explore.frontier.scales import Part
from ctxsim.explore.frontier.trial import Measured, Trial, Tried
from ctxsim.spec.document import Document

CHUNK = 32
"""Stacks that a process is handed at once: a few tenths of a second."""

Progress = Callable[[str, int, int], None]

Stack = tuple[int, ...]
"""Numbers of the parts, ascending."""


@dataclass
class Search:
    """What was tried. stacks: all that count, the empty one first. left_out: by why, techniques with what was found.

    larger_stacks: of more techniques than were allowed, each of which makes prefill better.
    """

    stacks: list[Tried]
    left_out: dict[str, dict[str, str]]
    offered: int
    larger_stacks: list[Tried] = field(default_factory=list)
    combined: int = 0
    evaluated: int = 0
    refused: int = 0
    without_gain: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Its numbers."""
        return {
            "offered": self.offered, **{f"{why}_alone": len(parts) for why, parts in self.left_out.items()},
            "combined": self.combined, "stacks_evaluated": self.evaluated, "stacks_refused": self.refused,
            "stacks_without_gain": self.without_gain,
        }  # fmt: skip


def quiet(what: str, done: int, of: int) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Setup:
    """Where stacks are tried: a scenario without techniques, its session over both contexts, the processes.

    progress: told what is worked out, how much of it is done, and of how much.
    """

    document: Document
    session: TypicalSession
    short: TypicalSession
    executor: Executor
    progress: Progress = quiet

    def run(self, stacks: Sequence[tuple[str, ...]], session: TypicalSession | None = None) -> list[Measured | str]:
        """What each comes to over the long context, or another, in their order."""
        tasks = list(enumerate(Trial(self.document, session or self.session, stack) for stack in stacks))
        chunks = [tasks[first : first + CHUNK] for first in range(0, len(tasks), CHUNK)]
        found: dict[int, Measured | str] = {}
        for number, answer in self.executor(chunks):
            found[number] = answer
            self.progress(f"stacks of {len(stacks[0])}", len(found), len(tasks))
        return [found[number] for number in range(len(tasks))]


def search(setup: Setup, parts: Sequence[Part], most: int, named: bool, exhaustive: bool = False) -> Search:
    """Every stack of at most so many of the parts that counts. named: somebody asked for these very parts.

    The scenario without techniques must be one that can be resolved.
    """
    (empty,) = setup.run([()])
    assert isinstance(empty, Measured), empty
    found = Search([Tried.of((), empty)], {"refused": {}, "larger": {}, "idle": {}, "dominated": {}}, len(parts))
    alone = _alone(setup, parts, found)
    if not named:
        alone = _left(found, "larger", alone, _larger(found, alone))
    if not exhaustive:
        short = _over_target(setup, alone)
        alone = _left(found, "idle", alone, _idle(found.stacks[0], alone, short))
        alone = _left(found, "dominated", alone, _dominated(alone, short))
    found.combined, found.stacks = len(alone), found.stacks + alone
    tried: dict[Stack, Tried] = {(): found.stacks[0], **{(number,): one for number, one in enumerate(alone)}}
    for size in range(2, most + 1):
        every = combinations(range(len(alone)), size) if exhaustive else _candidates(tried, size, len(alone))
        found.stacks += _grown(setup, alone, tried, list(every), found, exhaustive)
    found.larger_stacks = _larger_for_prefill(setup, alone, tried, most, found)
    return found


def _larger_for_prefill(
    setup: Setup, alone: Sequence[Tried], tried: Mapping[Stack, Tried], most: int, found: Search
) -> list[Tried]:
    """Stacks of any size above the most, of techniques that all make prefill better alone.

    Few do, and most of them exclude each other, so that what no combination reaches can be said of prefill.
    """
    better = {number for number, one in enumerate(alone) if one.missing("prefill_s", found.stacks[0]) < 1}
    known = {stack: one for stack, one in tried.items() if better.issuperset(stack)}
    larger: list[Tried] = []
    for size in range(most + 1, len(better) + 1):
        larger += _grown(setup, alone, known, list(_candidates(known, size, len(alone))), found)
    return larger


def _over_target(setup: Setup, alone: Sequence[Tried]) -> dict[str, Tried]:
    """Each stack, and none, over the target's context."""
    parts = [(), *(one.parts for one in alone)]
    answers = setup.run([tuple(part.written for part in stack) for stack in parts], setup.short)
    found = [
        Tried.of(stack, answer) for stack, answer in zip(parts, answers, strict=True) if not isinstance(answer, str)
    ]
    return {one.stack: one for one in found}


def _alone(setup: Setup, parts: Sequence[Part], found: Search) -> list[Tried]:
    """Each part alone, those left out that are refused."""
    answers = dict(zip(parts, setup.run([(part.written,) for part in parts]), strict=True))
    found.left_out["refused"] = {part.written: why for part, why in answers.items() if isinstance(why, str)}
    alone = [Tried.of((part,), answer) for part, answer in answers.items() if not isinstance(answer, str)]
    found.evaluated = 1 + len(alone)
    return alone


def _left(found: Search, why: str, alone: Sequence[Tried], out: Mapping[str, str]) -> list[Tried]:
    """Those that are not out; the others are written down."""
    found.left_out[why] = dict(out)
    return [one for one in alone if one.stack not in out]


def _larger(found: Search, alone: Sequence[Tried]) -> dict[str, str]:
    """Those whose replicas are more accelerators than the scenario's own."""
    own = found.stacks[0].measured.accelerators
    return {
        one.stack: f"takes {one.measured.accelerators / own:.4g} times as many accelerators"
        for one in alone
        if one.measured.accelerators > own
    }


def _idle(empty: Tried, alone: Sequence[Tried], short: Mapping[str, Tried]) -> dict[str, str]:
    """Those that make nothing better, over neither context."""
    return {one.stack: "makes nothing better alone" for one in alone if not _beats(one, empty, short)}


def _beats(one: Tried, other: Tried, short: Mapping[str, Tried]) -> bool:
    """Whether it is better in something over one of the contexts."""
    return one.beats(other) or short[one.stack].beats(short[other.stack])


def _dominated(alone: Sequence[Tried], short: Mapping[str, Tried]) -> dict[str, str]:
    """Those that another of their form beats; of equal ones all but the first."""
    out = {}
    for number, one in enumerate(alone):
        by = next((o for i, o in enumerate(alone) if i != number and _dominates(o, one, short, i < number)), None)
        if by is not None:
            out[one.stack] = f"{by.stack} is at least as good in all"
    return out


def _dominates(other: Tried, one: Tried, short: Mapping[str, Tried], earlier: bool) -> bool:
    """Whether the other does nothing of another form than the first, and is worse in nothing."""
    narrow, wide = other.parts[0].form, one.parts[0].form
    if not narrow <= wide or other.effort > one.effort or other.risk > one.risk or _beats(one, other, short):
        return False
    strictly = narrow < wide or other.effort < one.effort or other.risk < one.risk
    return earlier or strictly or _beats(other, one, short)


def _grown(
    setup: Setup, alone: Sequence[Tried], tried: dict[Stack, Tried], stacks: Sequence[Stack], found: Search,
    exhaustive: bool = False,
) -> list[Tried]:  # fmt: skip
    """Those of the stacks that count; adds to ``tried`` all that are not refused, so that larger ones are built on."""
    parts = [one.parts[0] for one in alone]
    answers = setup.run([tuple(parts[number].written for number in stack) for stack in stacks])
    count = []
    for stack, answer in zip(stacks, answers, strict=True):
        if isinstance(answer, str):
            found.refused += 1
            continue
        found.evaluated += 1
        one = tried[stack] = Tried.of([parts[number] for number in stack], answer)
        if exhaustive or all(one.beats(tried[less]) for less in _one_less(stack)):
            count.append(one)
        else:
            found.without_gain += 1
    return count


def _candidates(tried: Mapping[Stack, Tried], size: int, number: int) -> Iterator[Stack]:
    """Stacks of that size of which nothing smaller was refused."""
    for stack in [stack for stack in tried if len(stack) == size - 1]:
        for last in range(stack[-1] + 1, number):
            grown = (*stack, last)
            if all(less in tried for less in _one_less(grown)):
                yield grown


def _one_less(stack: Stack) -> Iterator[Stack]:
    return (stack[:place] + stack[place + 1 :] for place in range(len(stack)))
