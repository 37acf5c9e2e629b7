"""The discrete-event simulator: replicas in SimPy time, exact jumps over runs of equal iterations."""

from ctxsim.sim.simulate import Simulation, simulate

__all__ = ["Simulation", "simulate"]
