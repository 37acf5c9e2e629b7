"""The rows that a simulation leaves: the columns of every table, whole tables, and tables that grow part by part."""

from ctxsim.records.columns import (
    CHUNK_COLUMNS,
    GAP_COLUMNS,
    MONEY_COLUMNS,
    REQUEST_COLUMNS,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    SPAN_COLUMNS,
    STAY_COLUMNS,
    TRANSFER_COLUMNS,
    Column,
    run_columns,
    simulated_run_columns,
)
from ctxsim.records.ordered import sorted_by
from ctxsim.records.rows import Rows, table
from ctxsim.records.tables import Records, Table
from ctxsim.records.widened import widened

__all__ = [
    "CHUNK_COLUMNS",
    "GAP_COLUMNS",
    "MONEY_COLUMNS",
    "REQUEST_COLUMNS",
    "RUN_COLUMNS",
    "SESSION_COLUMNS",
    "SPAN_COLUMNS",
    "STAY_COLUMNS",
    "TRANSFER_COLUMNS",
    "Column",
    "Records",
    "Rows",
    "Table",
    "run_columns",
    "simulated_run_columns",
    "sorted_by",
    "table",
    "widened",
]
