"""The sections of a report, each from its subject; in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

from ctxsim.reporting.blocks import Section
from ctxsim.reporting.sections.answer import answer
from ctxsim.reporting.sections.bottlenecks import bottlenecks
from ctxsim.reporting.sections.choices import choices
from ctxsim.reporting.sections.definitions import definitions
from ctxsim.reporting.sections.fleet import fleet
from ctxsim.reporting.sections.latency import latency
from ctxsim.reporting.sections.load import load
from ctxsim.reporting.sections.memory import memory
from ctxsim.reporting.sections.origin import origin
from ctxsim.reporting.sections.quantities import quantities
from ctxsim.reporting.sections.validity import validity
from ctxsim.reporting.subject import Subject

SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    answer, fleet, quantities, latency, memory, bottlenecks, choices, load, validity, definitions, origin,
)  # fmt: skip
"""Each gives None where there is nothing to say."""


def sections_of(subject: Subject) -> list[Section]:
    """Every section that the subject has."""
    found = (make(subject) for make in SECTIONS)
    return [section for section in found if section is not None]
