"""FLOP, bytes, seconds, memory and money of one replica; knows nothing of requests."""

from ctxsim.cost.course import alone_s, repetitions
from ctxsim.cost.kept import kept_warnings
from ctxsim.cost.law import Law, Piece, RooflineLaw, course_s
from ctxsim.cost.memory import Memory
from ctxsim.cost.model import CostModel, Machine
from ctxsim.cost.money import (
    accelerator_usd_per_s,
    accelerators,
    disk_usd_per_s,
    energy_usd_per_s,
    fleet_usd_per_s,
    host_usd_per_s,
    nodes,
    power_w,
    replica_usd_per_s,
)
from ctxsim.cost.operations import Operation, OperationCost, Rates, bound_of
from ctxsim.cost.transfers import transfer_s
from ctxsim.cost.unpriced import unpriced_warnings

__all__ = [
    "CostModel",
    "Law",
    "Machine",
    "Memory",
    "Operation",
    "OperationCost",
    "Piece",
    "Rates",
    "RooflineLaw",
    "accelerator_usd_per_s",
    "accelerators",
    "alone_s",
    "bound_of",
    "course_s",
    "disk_usd_per_s",
    "energy_usd_per_s",
    "fleet_usd_per_s",
    "host_usd_per_s",
    "kept_warnings",
    "nodes",
    "power_w",
    "repetitions",
    "replica_usd_per_s",
    "transfer_s",
    "unpriced_warnings",
]
