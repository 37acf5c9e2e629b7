"""How fast a machine is now beside its own measurements: some of their points are timed again.

Virtual machines are a tenth and more faster or slower within minutes, as others use the same processor and memory; and
kernels timed one by one are faster than in passes without end (measure.sustained).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ctxsim.errors import Fault, SpecError
from ctxsim.measure.devices import Device
from ctxsim.measure.gemm import wake
from ctxsim.measure.points import Point
from ctxsim.measure.run import timed
from ctxsim.measure.sustained import UNLOADED, Load, load_of
from ctxsim.records.measured import read
from ctxsim.spec.calibration import ON_CPU
from ctxsim.spec.scenario import Scenario
from ctxsim.units import parse

POINTS = 12
"""Of each family, the shortest to the longest."""

LEAST_S, MOST_S = parse("20 us", "seconds"), parse("50 ms", "seconds")
"""Shorter calls are mostly launches, and longer ones take long."""

LIMIT_S = parse("100 ms", "seconds")
"""For each point."""

_NOT_AGAIN = ("launch", "all_reduce", "copy")
"""Copies are timed under load."""

_OF_ROWS = ("packed_gemm", "elementwise")
"""Families whose times know how many rows there are: few when sequences decode, many in chunks."""


@dataclass(frozen=True)
class Speeds:
    """By family of the calibration: the median of seconds now over seconds as they were measured.

    load: seconds of a CPU's passes and copies under load over what was timed one by one.
    """

    ratios: Mapping[str, float]
    load: Load = UNLOADED

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario on the machine as it is now; raises SpecError at fidelity peak."""
        if scenario.calibration is None:
            message = "expected fidelity calibrated to refresh its times, found peak; write fidelity: calibrated"
            raise SpecError(Fault(scenario.path, None, None, "fidelity", message))
        calibration = scenario.calibration
        for family, ratio in self.ratios.items():
            few, many = self._loaded(family)
            calibration = calibration.scaled(family, ratio * few, many / few)
        return replace(scenario, calibration=calibration.scaled("copy", self.load.copy_ratio))

    def _loaded(self, family: str) -> tuple[float, float]:
        """What the load makes of times of few rows, and of many."""
        decode, chunk, _ = self.load
        few = chunk if family == "masked_prefill" else decode
        return few, chunk if family in _OF_ROWS else few

    def __str__(self) -> str:
        """The ratios in a sentence's part."""
        families = ", ".join(f"{family} {ratio:.2f}" for family, ratio in self.ratios.items())
        decode, chunk, copy = self.load
        loaded = f"; under load, decode {decode:.2f}, chunks of prompts {chunk:.2f} and copies {copy:.2f}"
        return families if self.load == UNLOADED else families + loaded


def speeds(path: Path, device: Device, scenario: Scenario) -> Speeds:
    """Those of a file of measurements, of points in the scenario's format; raises what ``read`` and ``of`` raise."""
    rows, _ = read(path)
    found = Speeds(_medians(rows, device, scenario.serving.weight_dtype))
    return replace(found, load=load_of(found.of(scenario), device)) if device.kind == "cpu" else found


def _medians(rows: pd.DataFrame, device: Device, dtype: str) -> dict[str, float]:
    wake(device)
    called = ON_CPU if device.kind == "cpu" else {}
    with torch.inference_mode():
        found = {called.get(name, name): _ratios(some, device) for name, some in _chosen(rows, dtype).items()}
    return {family: float(np.median(ratios)) for family, ratios in found.items() if ratios}


def _chosen(rows: pd.DataFrame, dtype: str) -> dict[str, pd.DataFrame]:
    """Points by family, spread evenly over their times."""
    within = rows["seconds"].between(LEAST_S, MOST_S) & rows["dtype"].isin([dtype, ""])
    return {
        str(family): _spread(some)
        for family, some in rows[within].sort_values("seconds", kind="stable").groupby("family")
        if family not in _NOT_AGAIN
    }


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    places = np.unique(np.linspace(0, len(rows) - 1, POINTS).round().astype(int))
    return rows.iloc[places]


def _ratios(rows: pd.DataFrame, device: Device) -> list[float]:
    """Seconds now over seconds then, of the points that can be timed."""
    found = []
    for row in rows.to_dict("records"):
        point = point_of({str(name): value for name, value in row.items()})
        # As when it was measured, a point that fails (no memory, too much noise to tell) is left out.
        with suppress(RuntimeError, TypeError, MemoryError):
            found.append(timed(point, device, LIMIT_S).seconds / row["seconds"])
    return found


def point_of(row: Mapping[str, Any]) -> Point:
    """The point that a row of measurements is of."""
    kinds = {"int": int, "bool": bool}
    return Point(**{f.name: kinds.get(str(f.type), str)(row[f.name]) for f in fields(Point)})
