"""Serving cost of long-context language models: closed-form analysis and exact discrete-event simulation.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctxsim.version import __version__

if TYPE_CHECKING:
    from ctxsim.analysis import analyze_grid as analyze_grid
    from ctxsim.api.calls import analyze as analyze
    from ctxsim.api.calls import load as load
    from ctxsim.api.calls import simulate as simulate
    from ctxsim.api.deciding import plan as plan
    from ctxsim.api.deciding import sensitivity as sensitivity
    from ctxsim.api.deciding import sweep as sweep
    from ctxsim.api.deciding import whatif as whatif
    from ctxsim.api.economics import cost_curve as cost_curve
    from ctxsim.api.economics import explain as explain
    from ctxsim.api.mapping import cliff as cliff
    from ctxsim.api.mapping import residency as residency
    from ctxsim.api.roads import frontier as frontier
    from ctxsim.api.storage import load_result as load_result

__all__ = [
    "__version__",
    "analyze",
    "analyze_grid",
    "cliff",
    "cost_curve",
    "explain",
    "frontier",
    "load",
    "load_result",
    "plan",
    "residency",
    "sensitivity",
    "simulate",
    "sweep",
    "whatif",
]

_MODULE_OF = {
    "analyze": "ctxsim.api.calls",
    "analyze_grid": "ctxsim.analysis",
    "cost_curve": "ctxsim.api.economics",
    "explain": "ctxsim.api.economics",
    "cliff": "ctxsim.api.mapping",
    "frontier": "ctxsim.api.roads",
    "load": "ctxsim.api.calls",
    "load_result": "ctxsim.api.storage",
    "plan": "ctxsim.api.deciding",
    "residency": "ctxsim.api.mapping",
    "sensitivity": "ctxsim.api.deciding",
    "simulate": "ctxsim.api.calls",
    "sweep": "ctxsim.api.deciding",
    "whatif": "ctxsim.api.deciding",
}


def __getattr__(name: str) -> Any:
    """The public name, its module loaded on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
