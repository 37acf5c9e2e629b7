"""Measurements on a device at hand: kernels and copies timed with torch, one row each, in one Parquet file.

Importing this package loads no torch; measuring does (extra ``measure``), and tells where it is missing.
"""

from ctxsim.measure.harness import measure
from ctxsim.measure.points import FAMILIES, Point
from ctxsim.measure.rows import RowsFile
from ctxsim.records.measured import COLUMNS, read, write

__all__ = ["COLUMNS", "FAMILIES", "Point", "RowsFile", "measure", "read", "write"]
