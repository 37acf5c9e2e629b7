"""Scenarios and batches for the tests of the cost model and the closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from ctxsim.cost import CostModel
from ctxsim.geometry import BatchTotals, Span
from ctxsim.spec.catalog import names
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.models import load_model
from ctxsim.spec.scenario import Price, Scenario, load_scenario

MODELS = names("model")


_model, _hardware = cache(load_model), cache(load_hardware)


@cache
def _paper(overrides: tuple[tuple[str, object], ...]) -> Scenario:
    return load_scenario("paper-34b-50k", dict(overrides))


def scenario(model: str = "paper-34b", hardware: str = "paper-a100", **overrides: object) -> Scenario:
    """The paper's scenario with another model, machine and settings (``serving__kv_dtype="fp8"``).

    Files are read once each, for speed; prices are the machine's unless the settings give some.
    """
    ranks = overrides.pop("deployment__tensor_parallel", 1)
    base = _paper(tuple(sorted((key.replace("__", "."), value) for key, value in overrides.items())))
    machine = _hardware(hardware)
    if not any(key.startswith("price__") for key in overrides):
        price = Price(
            machine.accelerator_usd_per_s,
            machine.host_memory_usd_per_byte_s,
            machine.disk_usd_per_byte_s,
            machine.energy_usd_per_j,
        )
        base = replace(base, price=price)
    deployment = base.deployment.model_copy(update={"tensor_parallel": ranks})
    return replace(base, model=_model(model), hardware=machine, deployment=deployment)


@cache
def cost_model(model: str = "paper-34b", hardware: str = "paper-a100", **overrides: object) -> CostModel:
    """The costs of that scenario."""
    return CostModel(scenario(model, hardware, **overrides))


def most_ranks(model: str, limit: int = 8) -> int:
    """The largest tensor-parallel degree up to ``limit`` that the model's heads can be split over."""
    return max(g for g in range(1, limit + 1) if _model(model).splits_over(g))


def with_document(base: Scenario, tokens: int) -> Scenario:
    """The same sessions over a document of that many tokens (past any limit of the file, and without reading it)."""
    document = ConstantLength(tokens=tokens)
    return replace(base, workload=base.workload.model_copy(update={"document_tokens": document}))


def mixed(spans: Sequence[Span], sequences: Sequence[tuple[int, int]]) -> BatchTotals:
    """Totals of one iteration over (new, past) sequences, summed from what each span computes and touches."""
    computed = [sum(s.pairs(n, p) for n, p in sequences if _sees(s, n)) for s in spans]
    touched = [sum(s.touched(n, p) for n, p in sequences if _sees(s, n)) for s in spans]
    zeros = [0.0] * len(spans)
    decoding = sum(n == 1 for n, _ in sequences)
    return BatchTotals(len(sequences), sum(n for n, _ in sequences), decoding, computed, zeros, touched, zeros)


def repeated(spans: Sequence[Span], sequences: Sequence[tuple[int, int]]) -> tuple[BatchTotals, int]:
    """Totals with their growth per repetition, and for how many repetitions every sequence grows evenly."""
    batch = mixed(spans, sequences)
    extents = [[s.extent(n, p) for n, p in sequences] for s in spans]
    batch.pairs_growth = [sum(e.pairs_growth for e in row) for row in extents]
    batch.touched_growth = [sum(e.touched_growth for e in row) for row in extents]
    return batch, min((e.until for row in extents for e in row), default=10**9)


def after(sequences: Sequence[tuple[int, int]], repetitions: int) -> list[tuple[int, int]]:
    """The sequences once they have repeated their new tokens that often."""
    return [(n, p + repetitions * n) for n, p in sequences]


def _sees(span: Span, new: int) -> bool:
    return span.phase == "any" or (span.phase == "decode") == (new == 1)
