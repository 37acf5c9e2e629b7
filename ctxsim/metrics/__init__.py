"""From rows to the summary: latency quantiles, throughput, utilisation, money, and how far they can be trusted."""

from ctxsim.metrics.charging import BLOCK_RUNS, BusyCharges, Presence, charge_runs
from ctxsim.metrics.gaps import gap_quantiles
from ctxsim.metrics.intervals import half_widths, means, student_t_quantile
from ctxsim.metrics.latency import QUANTILES, describe, good_requests
from ctxsim.metrics.money import Upkeep
from ctxsim.metrics.slo import slo_gate
from ctxsim.metrics.steady import MSER_BATCH, mser5, too_short_warning, warmup_s
from ctxsim.metrics.summary import DEFINITIONS, History, groups_of, summarise
from ctxsim.metrics.utilisation import kv_used, mean_batches, peak_compute_s, work_done

__all__ = [
    "BLOCK_RUNS",
    "DEFINITIONS",
    "MSER_BATCH",
    "QUANTILES",
    "BusyCharges",
    "History",
    "Presence",
    "Upkeep",
    "charge_runs",
    "describe",
    "gap_quantiles",
    "good_requests",
    "groups_of",
    "half_widths",
    "kv_used",
    "mean_batches",
    "means",
    "mser5",
    "peak_compute_s",
    "slo_gate",
    "student_t_quantile",
    "summarise",
    "too_short_warning",
    "warmup_s",
    "work_done",
]
