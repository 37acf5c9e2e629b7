"""The closed form: the four quantities, the exact course of one request, operational bounds, and their arithmetic."""

from ctxsim.analysis.analyze import Analysis, analyze
from ctxsim.analysis.bounds import Bound
from ctxsim.analysis.cautions import fleet_working_set, prediction_warnings
from ctxsim.analysis.grid import analyze_grid

__all__ = ["Analysis", "Bound", "analyze", "analyze_grid", "fleet_working_set", "prediction_warnings"]
