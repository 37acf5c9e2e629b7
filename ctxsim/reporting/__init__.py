"""Figures and reports from results."""

from ctxsim.reporting.planned import Planned
from ctxsim.reporting.subject import Subject, study
from ctxsim.reporting.writing import write_report

__all__ = ["Planned", "Subject", "study", "write_report"]
