"""The working-set map: where KV outgrows HBM, and where it outgrows all room for it: the cliff."""

from ctxsim.explore.cliff.axes import Over
from ctxsim.explore.cliff.cliff import Bracket, Cliff, CliffPoint, Located, cliff

__all__ = ["Bracket", "Cliff", "CliffPoint", "Located", "Over", "cliff"]
