"""The cheapest road from a long context to the cost of a short one."""

from ctxsim.explore.frontier.findings import finding, kv_alone, needs, together
from ctxsim.explore.frontier.frontier import DEFINITIONS, Frontier, Level, Reach, frontier, parse_within
from ctxsim.explore.frontier.scales import EFFORTS, RISKS
from ctxsim.explore.frontier.trial import NAMES, QUANTITIES, Tried

__all__ = [
    "DEFINITIONS",
    "EFFORTS",
    "NAMES",
    "QUANTITIES",
    "RISKS",
    "Frontier",
    "Level",
    "Reach",
    "Tried",
    "finding",
    "frontier",
    "kv_alone",
    "needs",
    "parse_within",
    "together",
]
