"""Serving cost of long-context language models: closed-form analysis and exact discrete-event simulation.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctxsim.api import analyze as analyze
    from ctxsim.api import analyze_grid as analyze_grid
    from ctxsim.api import load as load
    from ctxsim.api import load_result as load_result
    from ctxsim.api import simulate as simulate

__version__ = "0.1.0"
__all__ = ["__version__", "analyze", "analyze_grid", "load", "load_result", "simulate"]


def __getattr__(name: str) -> Any:
    """The public name, its module loaded on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("ctxsim.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
