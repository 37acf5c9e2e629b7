"""Simulations as traces that ui.perfetto.dev and chrome://tracing open."""

from ctxsim.tracing.trace import Trace, check_path, write_trace
from ctxsim.tracing.window import MAX_EVENTS, Window

__all__ = ["MAX_EVENTS", "Trace", "Window", "check_path", "write_trace"]
