"""Calibrations from tables: all fits of a plan, each judged by what was left out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctxsim.calibrate import frames
from ctxsim.calibrate.form import Fitted, Form, fit_form
from ctxsim.calibrate.leave_out import DECADE, OCTAVE, Judged, beyond_predictions, judge, shorter
from ctxsim.calibrate.pasts import past_growths
from ctxsim.calibrate.plans import Loan, Part, Plan, plan_of
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import (
    SCHEMA,
    Axis,
    CalibrationFile,
    Coefficient,
    FitFile,
    Grid,
    PastGrowth,
    Range,
    SizeSpread,
    read_calibration,
)
from ctxsim.spec.hardware import load_hardware

_DIGITS = 6
_ROWS_PER_COEFFICIENT = 8  # fewer tell a coefficient from noise by luck alone
EVALUATED = (
    *frames.WORD_COLUMNS, "split", *frames.SIZE_COLUMNS, *frames.MODULE_COLUMNS, "context_tokens", "measured_s",
    "predicted_s", "band_ratio", "in_range",
)  # fmt: skip
"""Columns of ``evaluate``."""

WHOLE_PROMPTS = ("prefill_attention", "latent_prefill")
"""Families of prompts, of which tables without pasts say nothing of chunks after one."""


def fit_tables(folder: Path, name: str) -> CalibrationFile:
    """The calibration of that name from the kernel tables below a folder.

    Raises SpecError for a name without a plan, and for tables that are missing or lack columns.
    """
    return fit_plan(plan_of(name), folder, name, f"ctxsim calibrate {name} -o {name}.json")


def fit_plan(plan: Plan, folder: Path, name: str, made_with: str) -> CalibrationFile:
    """The calibration of a plan whose tables lie below a folder; ``made_with``: the command, as the file says it."""
    device = Device.of(load_hardware(plan.hardware))
    fits, growths = [], _past_growths(plan, folder)
    for part, variant, rows in _variants(plan, folder):
        fitted = fit_form(part.form, device, variant, rows)
        judged, _ = judge(part.form, device, variant, rows)
        fits.append(_fit_file(part, fitted, judged, growths if part.form.family in WHOLE_PROMPTS else ()))
    fits += [fit for loan in plan.loans for fit in _borrowed(loan, fits)]
    contents = {
        "schema": SCHEMA,
        "name": name,
        "hardware": load_hardware(plan.hardware).name,
        "description": plan.description,
        "made_with": made_with,
        "sources": plan.sources,
        "fits": tuple(fits),
    }
    return CalibrationFile.model_validate(contents)


def evaluate(folder: Path, name: str, families: tuple[str, ...] = (), variants: tuple[str, ...] = ()) -> pd.DataFrame:
    """Predictions of whole shapes, and of the longest decades, by fits without them; columns EVALUATED.

    ``band_ratio``: half-width of the stated band. That of shapes comes from the errors of all shapes of such
    sizes; that of the longest decade only from what is shorter, its growth from the longest octave of that.
    ``families``, ``variants``: () for all.
    """
    return evaluate_plan(plan_of(name), folder, families, variants)


def evaluate_plan(
    plan: Plan, folder: Path, families: tuple[str, ...] = (), variants: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The same of a plan at hand."""
    device = Device.of(load_hardware(plan.hardware))
    parts = []
    for part, variant, rows in _variants(plan, folder, families):
        if _asked(variant, variants):
            judged, within = judge(part.form, device, variant, rows)
            parts += [_banded(part.form, judged, within), *_longest(part.form, device, variant, rows)]
    return pd.concat(parts, ignore_index=True)[list(EVALUATED)]


def variants_of(folder: Path, name: str) -> list[tuple[str, str]]:
    """The families and variants that ``evaluate`` has predictions of."""
    return [(part.form.family, variant) for part, variant, _ in _variants(plan_of(name), folder)]


def _asked(name: str, names: tuple[str, ...]) -> bool:
    return not names or name in names


def _variants(plan: Plan, folder: Path, families: tuple[str, ...] = ()) -> Iterator[tuple[Part, str, pd.DataFrame]]:
    """Every part's variants with their rows, of these families; () for all."""
    for part in (part for part in plan.parts if _asked(part.form.family, families)):
        rows = part.rows(folder / plan.folder)
        for variant in sorted(set(rows["variant"])):
            yield part, variant, frames.of(rows, part.form.family, variant)


def _longest(form: Form, device: Device, variant: str, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The longest decade with the band that someone who had only the shorter rows would have stated.

    None where those rows are too few to be judged by their own longest octave.
    """
    short = rows[shorter(form, rows, DECADE)].reset_index(drop=True)
    if len(form.judged(device, short[shorter(form, short, OCTAVE)])) < _ROWS_PER_COEFFICIENT * len(form.starts):
        return []
    judged, _ = judge(form, device, variant, short)
    return [_banded(form, judged, beyond_predictions(form, device, variant, rows, DECADE))]


def _banded(form: Form, judged: Judged, predictions: pd.DataFrame) -> pd.DataFrame:
    band = judged.band_ratio(predictions[form.grown].to_numpy(float), predictions["beyond"].to_numpy(float))
    return predictions.rename(columns={"seconds": "measured_s"}).assign(band_ratio=band)


def _past_growths(plan: Plan, folder: Path) -> tuple[PastGrowth, ...]:
    """What a past adds to the spread of prompts, from the plan that has measured it; () where ours has pasts itself."""
    if plan.pasts is None:
        return ()
    name, source = plan.pasts
    theirs = plan_of(name)
    device = Device.of(load_hardware(theirs.hardware))
    part, variant, rows = next(_variants(theirs, folder, WHOLE_PROMPTS))
    found = past_growths(part.form, device, variant, rows)
    return tuple(PastGrowth(from_tokens=n, growth_ratio=_rounded(growth), source=source) for n, growth in found.items())


def _fit_file(part: Part, fitted: Fitted, judged: Judged, growths: tuple[PastGrowth, ...]) -> FitFile:
    """The fit as the calibration's file has it."""
    fit = fitted.fit
    axes = tuple(Axis(name=name, knots=knots) for name, knots in fit.axes)
    coefficients = {
        name: Coefficient(
            value=_rounded(e.value), error=None if e.error is None else _rounded(e.error), source=part.source
        )
        for name, e in fitted.estimates.items()
    }
    return FitFile(
        family=part.form.family,
        variant=fit.variant,
        coefficients=coefficients,
        measured={name: Range(least=least, most=most) for name, least, most in fit.measured},
        rows=fitted.rows,
        spread_ratio=_rounded(judged.spread_ratio),
        size=part.form.grown,
        size_spreads=tuple(_size_spreads(judged)),
        spread_growth_ratio=_rounded(judged.spread_growth_ratio),
        past_growths=growths,
        left_out=part.form.left_out,
        grid=Grid(axes=axes, values=fit.values) if axes else None,
    )


def _size_spreads(judged: Judged) -> Iterator[SizeSpread]:
    for least, ratio in zip(judged.spreads.least, judged.spreads.ratios, strict=True):
        yield SizeSpread(least=least, spread_ratio=_rounded(ratio))


def _borrowed(loan: Loan, ours: Sequence[FitFile]) -> Iterator[FitFile]:
    """Fits of the other calibration under our variants, standard errors and spread as they are there."""
    theirs = {(fit.family, fit.variant): fit for fit in read_calibration(loan.calibration).fits}
    for name, variant in loan.variants:
        fit = theirs[loan.family, variant]
        found = dict(fit.coefficients)
        changes: dict[str, Any] = {"variant": name, "borrowed_from": loan.calibration}
        if loan.streams_as is not None:
            reader = next(one for one in ours if (one.family, one.variant) == loan.streams_as)
            found["hbm_ratio"], changes["grid"] = reader.coefficients["hbm_ratio"], None
        changes["coefficients"] = {key: c.model_copy(update={"source": loan.source}) for key, c in found.items()}
        yield fit.model_copy(update=changes)


def _rounded(number: float) -> float:
    """Six significant digits."""
    return float(f"{number:.{_DIGITS}g}")
