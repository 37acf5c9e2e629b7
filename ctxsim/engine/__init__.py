"""What a serving engine decides: queues, batches, KV blocks and tiers, schedulers, policies. Knows no time."""

from ctxsim.engine.cache import KvCache, Room
from ctxsim.engine.core import EngineCore, Limits, Outcome, Plan
from ctxsim.engine.decoding import DecodeBatch, IncrementalBatch
from ctxsim.engine.plain import PlainBatch
from ctxsim.engine.queues import Queue
from ctxsim.engine.quotes import Quotes
from ctxsim.engine.request import Request
from ctxsim.engine.residency import RESIDENCIES, Residency
from ctxsim.engine.routers import ROUTERS, Router
from ctxsim.engine.schedulers import SCHEDULERS, Scheduler
from ctxsim.engine.stores import Tiers
from ctxsim.engine.tiers import DISK, HBM, HOST, Move

__all__ = [
    "DISK",
    "HBM",
    "HOST",
    "RESIDENCIES",
    "ROUTERS",
    "SCHEDULERS",
    "DecodeBatch",
    "EngineCore",
    "IncrementalBatch",
    "KvCache",
    "Limits",
    "Move",
    "Outcome",
    "PlainBatch",
    "Plan",
    "Queue",
    "Quotes",
    "Request",
    "Residency",
    "Room",
    "Router",
    "Scheduler",
    "Tiers",
]
