"""The Python interface: load a scenario, analyze or simulate it, keep and reload the results."""

from ctxsim.analysis import analyze_grid
from ctxsim.api.calls import analyze, load, simulate
from ctxsim.api.results import AnalysisResult, SimulationResult
from ctxsim.api.storage import load_result

__all__ = ["AnalysisResult", "SimulationResult", "analyze", "analyze_grid", "load", "load_result", "simulate"]
