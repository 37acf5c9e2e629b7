"""What the words mean."""

from __future__ import annotations

from ctxsim.metrics import DEFINITIONS
from ctxsim.reporting.blocks import Labelled, Section
from ctxsim.reporting.subject import Subject

BESIDE = {
    "session": "a document, then rounds of question, answer and think time; of requests and traces, each is one",
    "sessions_per_hour": "sessions completed / duration",
    "bound": "the most sessions per second that one resource allows whatever the schedule (Denning and Buzen, 1978)",
    "elasticity": "percent that an outcome moves for one percent more of a number, all else equal",
    "spread": "standard deviation of relative errors on whole shapes that were left out of a fit",
}


def definitions(subject: Subject) -> Section:
    """Those of every number on the page."""
    of_summary = {name: meaning for name, meaning in DEFINITIONS.items() if name.partition(".")[0] in subject.summary}
    return Section("definitions", "Definitions", [Labelled({**BESIDE, **of_summary})])
