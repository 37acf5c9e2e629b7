"""Iterations priced by curves that were fitted to measurements."""

from ctxsim.cost.calibrated.pricing import Pricing

__all__ = ["Pricing"]
