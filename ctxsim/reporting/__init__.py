"""Figures and pages from results."""

from ctxsim.reporting.page import write_report

__all__ = ["write_report"]
