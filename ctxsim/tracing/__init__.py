"""Simulations as traces that ui.perfetto.dev and chrome://tracing open."""

from ctxsim.tracing.order import TraceOrder, asked
from ctxsim.tracing.trace import Trace, write_trace
from ctxsim.tracing.window import MAX_EVENTS, Window

__all__ = ["MAX_EVENTS", "Trace", "TraceOrder", "Window", "asked", "write_trace"]
