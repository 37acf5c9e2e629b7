"""Calibrations: what measured kernels, links and hosts reach of a device's peaks, as coefficients of physical forms.

A calibration is a JSON file of ``hardware_profiles/calibrations``. Each fit is one family of operations in one variant
(a number format, a head size): coefficients with standard errors and sources, the range that was measured, how far
predictions lie from what was left out of the fit, and, where data were dense, a grid of what the form leaves over. What
the coefficients mean is said by the forms in ``ctxsim.cost.curves``; here they are numbers with names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log, prod
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.catalog import find
from ctxsim.spec.document import Document
from ctxsim.spec.validation import FieldError, Spec, validate

SCHEMA = "ctxsim.calibration/1"

Family = Literal[
    "gemm", "decode_attention", "prefill_attention", "mixed_attention", "latent_decode", "latent_prefill", "experts",
    "linear_attention", "sparse_attention", "packed_gemm", "masked_prefill", "serial_decode", "elementwise",
    "all_reduce", "copy", "host",
]  # fmt: skip
"""Kinds of operations that have a form of their own."""

ON_CPU: dict[str, Family] = {
    "gemm": "packed_gemm", "decode_attention": "serial_decode", "prefill_attention": "masked_prefill",
}  # fmt: skip
"""What families of measurements are called in a CPU's calibration, where they have a form of their own."""

WINDOWED = "-windowed"
"""How the variants of attention end that are of sliding windows."""


FEW_ROWS, MANY_ROWS = 8, 512
"""Rows of an operation up to which it counts as one of few, and from which on as one of many."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, Field(min_length=1)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]


class Coefficient(Spec):
    """One fitted number in SI units or as a ratio of a peak.

    error: its standard error, relative to the value; None where the data cannot identify it and the value is the
    fit's starting point, or another device's.
    """

    value: float
    error: float | None = None
    source: Text


class Axis(Spec):
    """The knots of one axis of a grid, ascending; between two of them the logarithm of the axis counts."""

    name: Text
    knots: Numbers

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if len(self.knots) < 2 or any(b <= a for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise FieldError("knots", "expected two or more ascending knots; sort them")
        if self.knots[0] <= 0:
            raise FieldError("knots", "expected knots above zero; leave the others out")
        return self


class Grid(Spec):
    """Logarithms of measured over predicted seconds at knots: multilinear between them, constant beyond the last.

    values: in the order of the axes, the last one fastest.
    """

    axes: Annotated[tuple[Axis, ...], BeforeValidator(_as_tuple)]
    values: Numbers

    @model_validator(mode="after")
    def _complete(self) -> Self:
        expected = prod(len(axis.knots) for axis in self.axes)
        if len(self.values) != expected:
            raise FieldError("values", f"expected {expected} values, one a knot, found {len(self.values)}")
        return self


class Range(Spec):
    """From where to where a quantity was measured."""

    least: float
    most: float


class PastGrowth(Spec):
    """What a spread of whole prompts grows by in chunks of so many tokens and more, for every factor of e that past and
    new tokens together are of the new ones; measured where there were chunks after a past."""

    from_tokens: Annotated[float, Field(ge=0)]
    growth_ratio: Annotated[float, Field(ge=0)]
    source: Text


class SizeSpread(Spec):
    """The spread of sizes from ``least`` on."""

    least: Annotated[float, Field(ge=0)]
    spread_ratio: Annotated[float, Field(ge=0)]


class FitFile(Spec):
    """One family in one variant.

    spread_ratio: standard deviation of normal errors whose band of 90 % holds as many of the errors, as shares of
    predictions, on whole shapes that were left out of the fit; size_spreads: the same by ``size``, a quantity, the
    largest first (the last holds for smaller ones too); spread_growth_ratio: how much is added for every factor of e
    beyond the measured range, per quantity; past_growths: and in chunks after a past, where only whole prompts were
    measured, the longest chunks first.
    left_out: what was left out of the fit to find the spread. borrowed_from: the calibration whose fit this is, where
    the device's own tables have none.
    """

    family: Family
    variant: Text
    coefficients: dict[str, Coefficient]
    measured: dict[str, Range]
    rows: Annotated[int, Field(ge=1)]
    spread_ratio: Annotated[float, Field(ge=0)]
    size: Text
    size_spreads: Annotated[tuple[SizeSpread, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    spread_growth_ratio: Annotated[float, Field(ge=0)]
    past_growths: Annotated[tuple[PastGrowth, ...], BeforeValidator(_as_tuple)] = ()
    left_out: Text
    borrowed_from: Text | None = None
    grid: Grid | None = None


class CalibrationFile(Spec):
    """The file; ``hardware``: the profile whose peaks the coefficients are ratios of, ``made_with``: the command."""

    schema_name: Annotated[Literal["ctxsim.calibration/1"], Field(alias="schema")]
    name: Text
    hardware: Text
    description: Text
    made_with: Text
    sources: dict[str, Text]
    fits: Annotated[tuple[FitFile, ...], BeforeValidator(_as_tuple)]

    @model_validator(mode="after")
    def _cited(self) -> Self:
        for fit in self.fits:
            named: dict[str, Coefficient | PastGrowth] = dict(fit.coefficients)
            named |= {f"past_growths.{i}": growth for i, growth in enumerate(fit.past_growths)}
            for name, one in named.items():
                if one.source not in self.sources:
                    place = f"{fit.family} {fit.variant}, {name}"
                    raise FieldError("sources", f'expected the source "{one.source}" of {place} here')
        return self


@dataclass(frozen=True, slots=True)
class Fit:
    """One family in one variant, as the layers above use it; see FitFile.

    scale: times are multiplied with it; many_scale: those of many rows with this, too (``scale_of``). size_spreads:
    (from that size on, spread), the largest first. past_growths: (from so many new tokens on, growth), the longest
    chunks first.
    """

    family: str
    variant: str
    coefficients: tuple[tuple[str, float], ...]
    measured: tuple[tuple[str, float, float], ...]
    spread_ratio: float
    spread_growth_ratio: float
    axes: tuple[tuple[str, tuple[float, ...]], ...] = ()
    values: tuple[float, ...] = ()
    scale: float = 1.0
    many_scale: float = 1.0
    borrowed_from: str | None = None
    size: str = ""
    size_spreads: tuple[tuple[float, float], ...] = ()
    past_growths: tuple[tuple[float, float], ...] = ()

    def __getitem__(self, name: str) -> float:
        """The coefficient of that name."""
        return dict(self.coefficients)[name]

    def scale_of(self, rows: float) -> float:
        """What times of an operation on so many rows are multiplied with: between few and many, by their logarithm."""
        share = log(min(max(rows, FEW_ROWS), MANY_ROWS) / FEW_ROWS) / log(MANY_ROWS / FEW_ROWS)
        return float(self.scale * self.many_scale**share)


@dataclass(frozen=True, slots=True)
class Calibration:
    """All fits of one calibration; ``hardware``: the profile that it was measured on."""

    name: str
    hardware: str
    fits: tuple[Fit, ...]

    def fit(self, family: Family, variant: str) -> Fit | None:
        """The fit of that family and variant, if there is one."""
        found = (fit for fit in self.fits if (fit.family, fit.variant) == (family, variant))
        return next(found, None)

    def scaled(self, family: str, scale: float, many_scale: float = 1.0) -> Calibration:
        """The same with all times of a family multiplied, and those of many rows with ``many_scale``, too."""

        def slower(fit: Fit) -> Fit:
            return replace(fit, scale=fit.scale * scale, many_scale=fit.many_scale * many_scale)

        return replace(self, fits=tuple(slower(fit) if fit.family == family else fit for fit in self.fits))

    def variants(self, family: Family) -> tuple[str, ...]:
        """The variants of a family that there are fits of, in the order of the file."""
        return tuple(fit.variant for fit in self.fits if fit.family == family)


def read_calibration(name_or_path: str) -> CalibrationFile:
    """The calibration as its file has it, with errors and sources; raises SpecError with all its faults."""
    path = find("calibration", name_or_path)
    return validate(CalibrationFile, _document(path))


def load_calibration(name_or_path: str) -> Calibration:
    """The calibration of that name or file; raises SpecError with all its faults."""
    file = read_calibration(name_or_path)
    return Calibration(file.name, file.hardware, tuple(fit_of(fit) for fit in file.fits))


def fit_of(file: FitFile) -> Fit:
    """A fit without errors and sources."""
    grid = file.grid
    return Fit(
        family=file.family,
        variant=file.variant,
        coefficients=tuple((name, c.value) for name, c in file.coefficients.items()),
        measured=tuple((name, r.least, r.most) for name, r in file.measured.items()),
        spread_ratio=file.spread_ratio,
        spread_growth_ratio=file.spread_growth_ratio,
        axes=() if grid is None else tuple((axis.name, axis.knots) for axis in grid.axes),
        values=() if grid is None else grid.values,
        borrowed_from=file.borrowed_from,
        size=file.size,
        size_spreads=tuple((spread.least, spread.spread_ratio) for spread in file.size_spreads),
        past_growths=tuple((growth.from_tokens, growth.growth_ratio) for growth in file.past_growths),
    )


def calibration_text(file: CalibrationFile) -> str:
    """The file's text, the same bytes for the same contents."""
    return json.dumps(file.model_dump(mode="json", by_alias=True), indent=1) + "\n"


def _document(path: Path) -> Document:
    """The file without the places of its values: it is written by a program, and too long for a slower reader."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(Fault(str(path), None, None, "", f"expected a calibration, {error.strerror}")) from None
    except ValueError as error:
        raise SpecError(Fault(str(path), None, None, "", f"expected JSON, found {error}")) from None
    if not isinstance(data, Mapping):
        raise SpecError(Fault(str(path), None, None, "", "expected a mapping at the top, found something else"))
    return Document(str(path), dict(data))
