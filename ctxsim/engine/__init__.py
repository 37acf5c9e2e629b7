"""What a serving engine decides: queues, batches, KV blocks, schedulers. Knows no time."""

from ctxsim.engine.core import EngineCore, Limits, Outcome, Plan
from ctxsim.engine.decoding import DecodeBatch, IncrementalBatch
from ctxsim.engine.plain import PlainBatch
from ctxsim.engine.request import Request
from ctxsim.engine.routers import ROUTERS, Router
from ctxsim.engine.schedulers import SCHEDULERS, Scheduler

__all__ = [
    "ROUTERS",
    "SCHEDULERS",
    "DecodeBatch",
    "EngineCore",
    "IncrementalBatch",
    "Limits",
    "Outcome",
    "PlainBatch",
    "Plan",
    "Request",
    "Router",
    "Scheduler",
]
