"""Many scenarios at once: sweeps, paired comparisons, plans, sensitivities."""

from ctxsim.explore.outcomes import Outcome, Trial, flatten
from ctxsim.explore.sweep import Sweep, sweep
from ctxsim.explore.vary import Axis, Setting, grid_points, parse_axis, sobol_points
from ctxsim.explore.whatif import Comparison, Difference, whatif

__all__ = [
    "Axis",
    "Comparison",
    "Difference",
    "Outcome",
    "Setting",
    "Sweep",
    "Trial",
    "flatten",
    "grid_points",
    "parse_axis",
    "sobol_points",
    "sweep",
    "whatif",
]
