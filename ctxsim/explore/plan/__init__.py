"""The cheapest fleet that meets an SLO at a load: closed form prunes, simulation decides."""

from ctxsim.explore.plan.goal import Goal, Space
from ctxsim.explore.plan.plan import NoFleetError, Plan, plan

__all__ = ["Goal", "NoFleetError", "Plan", "Space", "plan"]
