"""How much training and how much risk a stack of techniques takes: ordinal scales (techniques/README.md says why)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

from ctxsim.spec.techniques import Technique, load_technique
from ctxsim.spec.techniques.file import Effort, TechniqueFile

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""From the least to the most."""

RISKS = ("lossless", "kept", "untested", "mixed", "lost")
"""From the least to the most: what is known to miss some needles is riskier than what nobody has looked at."""

UNTESTED = RISKS.index("untested")

AMOUNTS = {"format", "value"}
"""Fields of effects that say how much although they may be words."""

Form = tuple[tuple[str, str | None], ...]
"""Fields of an effect, those that are words with what they say."""


@dataclass(frozen=True, eq=False)
class Part:
    """A technique as it is written into a stack. effort, risk: places on the scales.

    form: what it does, how much of it left out. Techniques of one form differ in amounts alone.
    """

    written: str
    file: TechniqueFile
    effort: int
    risk: int
    form: frozenset[Form]


def part_of(written: str) -> Part:
    """The technique of that name or path; what its file says of retrieval, it says of the parameters given there.

    With other parameters it is untested at least, unless its output is the same whatever they are.
    """
    technique = load_technique(written)
    file = technique.file
    form = frozenset(_form(effect.model_dump(exclude_none=True, exclude=AMOUNTS)) for effect in file.effects)
    return Part(written, file, EFFORTS.index(file.training.effort), _risk(technique), form)


def _form(effect: Mapping[str, Any]) -> Form:
    return tuple((name, value if isinstance(value, str) else None) for name, value in sorted(effect.items()))


def _risk(technique: Technique) -> int:
    risk = RISKS.index(technique.file.needle.state)
    return max(risk, UNTESTED) if risk and technique.parameters != technique.file.parameters else risk


def effort_of(parts: Iterable[Part]) -> int:
    """The greatest of the parts': who pre-trains does the rest on the way."""
    return max((part.effort for part in parts), default=0)


def risk_of(parts: Sequence[Part]) -> int:
    """The greatest of the parts', and untested at least where two that lose something were not tested together."""
    greatest = max((part.risk for part in parts), default=0)
    together = all(_tested(one, other) for one, other in combinations([p for p in parts if p.risk], 2))
    return greatest if together else max(greatest, UNTESTED)


def _tested(one: Part, other: Part) -> bool:
    return _names(one, other) or _names(other, one)


def _names(one: Part, other: Part) -> bool:
    return any(other.file.name in tested.techniques for tested in one.file.tested_with)
