"""Fits of kernel, link and host times to measurements: forms fitted in relative error, judged by whole shapes.

The extra ``fit`` (scipy) is needed to make a calibration, not to use one.
"""

from ctxsim.calibrate.assemble import evaluate, evaluate_plan, fit_tables, variants_of

__all__ = ["evaluate", "evaluate_plan", "fit_tables", "variants_of"]
