"""The commands that measure a device, fit what was measured, and check predictions against it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctxsim.cli.answer import Answer
from ctxsim.cli.options import JsonOption, SetOption, overrides_of
from ctxsim.errors import Fault, MissingExtraError, SpecError

if TYPE_CHECKING:
    from ctxsim.spec.calibration import CalibrationFile

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The folder of outside tables.", envvar="CTXSIM_DATA")
]


def measure(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.parquet|DIR", help="Write there.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    budget: Annotated[str, typer.Option(help="How long at most, e.g. 5min.")] = "5min",
    families: Annotated[str | None, typer.Option(help="Only these, e.g. gemm,copy.  [default: all]")] = None,
    dtypes: Annotated[str | None, typer.Option(help="Only these, e.g. fp32.  [default: the device's]")] = None,
    keep_disturbed: Annotated[
        bool, typer.Option("--keep-disturbed", help="Of a CPU that others use too: keep points that they disturb.")
    ] = False,
    model: Annotated[list[str] | None, typer.Option(help="Shapes of this model before all others; repeatable.")] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="SCENARIO", help="Serve a scenario for real instead; tables go to DIR.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the engine's weights and KV: bf16, fp16 or fp32.  [default: the scenario's]")
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Time kernels and copies on a device at hand, or serve a scenario on it.

    Needs the extra "measure" (torch). Rows are saved as they come.
    """
    if engine is not None:
        return _served(engine, overrides_of(settings), out, device, dtype, as_json)
    from ctxsim.measure import FAMILIES
    from ctxsim.measure import measure as run_measure
    from ctxsim.units import parse

    chosen = FAMILIES if families is None else [name.strip() for name in families.split(",")]
    command = " ".join(["ctxsim", *sys.argv[1:]])
    formats = None if dtypes is None else [name.strip() for name in dtypes.split(",")]
    frame = run_measure(
        device, parse(budget, "seconds"), chosen, None, out, command, formats, keep_disturbed, model or ()
    )
    counts = {str(name): int(n) for name, n in frame["family"].value_counts().sort_index().items()}
    result = {"file": str(out), "rows": len(frame), "families": counts}

    def text() -> Any:
        from ctxsim.cli.views.tables import pairs

        yield pairs({f"rows of {name}": number for name, number in counts.items()}, across=1)
        yield f"\nWritten to {out}"

    return Answer("measure", result, text, as_json)


def calibrate(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A calibration that the tables can make; with --from, a hardware profile."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.json", help="Write the calibration there.")],
    measured: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE.parquet", help="Fit what ctxsim measure wrote there; repeatable."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="OUT.yaml", help="With --from: write a profile called NAME first, with measured peaks."),
    ] = None,
    host: Annotated[str, typer.Option(help="The host block that the written profile names.")] = "ddr5-4800-8ch",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Fit efficiency curves to measured kernels: the tables in the folder of outside data, or files of your own.

    Your own device in three steps: ctxsim measure --device cpu -o m.parquet; ctxsim calibrate my-cpu --from m.parquet
    --profile my-cpu.yaml -o my-cpu.json; then a scenario with hardware: ./my-cpu.yaml and fidelity: calibrated. The
    written profile takes the best rates measured as peaks; power and price count as nothing until you fill them in.

    Needs the extra "fit" (scipy). Errors are those of whole shapes that were left out of the fit.
    """
    _need("scipy", "fit", "calibrate")
    from ctxsim.calibrate import fit_tables
    from ctxsim.spec.calibration import calibration_text

    warnings: list[str] = []
    if measured:
        file, warnings = _fit_own(name, measured, profile, host, out)
    else:
        file = fit_tables(_folder(data) / "kernels", name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(calibration_text(file), encoding="utf-8")
    fits = [
        {
            "family": fit.family, "variant": fit.variant, "rows": fit.rows, "spread_ratio": fit.spread_ratio,
            "spread_growth_ratio": fit.spread_growth_ratio,
            "not_identified": [key for key, c in fit.coefficients.items() if c.error is None],
        }
        for fit in file.fits
    ]  # fmt: skip

    def text() -> Any:
        from ctxsim.cli.views.measuring import calibration_view

        yield from calibration_view(fits)
        yield f"\nWritten to {out}"

    return Answer("calibrate", {"file": str(out), "fits": fits}, text, as_json, warnings=warnings)


def validate(
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="With --against: what served it.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="requests.parquet, results of vllm bench serve or SGLang, or a log."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With a scenario: predict it, then serve it on cuda or cpu.")
    ] = None,
    refresh: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --engine: the calibration's own measurements, some timed again first."),
    ] = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write pages and tables there.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of a check; may be repeated.")] = None,
    own: Annotated[
        Path, typer.Option("--measurements", metavar="DIR", help="The folder of own measurement files.")
    ] = Path("measurements"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the page is the same.  [default: one a core]")
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Check predictions against measurements.

    With a scenario and a measured run: request by request. With a scenario and --engine: the prediction is written to
    DIR, then the torch engine serves the scenario, and both are compared. Without: all that own measurements and the
    folder of outside data hold, each left out of the fit that predicts it.
    """
    if scenario is not None and engine is not None and against is None:
        return _engine_checked(scenario, overrides_of(settings), engine, out, refresh, as_json)
    if refresh is not None:
        raise SpecError(Fault("", None, None, "refresh", "expected --engine beside --refresh, found none; give both"))
    if (scenario is None) != (against is None):
        message = "expected a scenario and --against FILE (or --engine DEVICE) together, or neither; give both"
        raise SpecError(Fault("", None, None, "validate", message))
    if scenario is not None and against is not None:
        return _against(scenario, overrides_of(settings), against, as_json)
    _need("scipy", "fit", "validate")
    from ctxsim.validate.report import sections, write_pages

    places = {"data": None if data is None else _folder(data), "measurements": own}
    found = sections(places, only or (), workers or os.cpu_count() or 1)
    pages = [] if out is None else write_pages(found, out)
    result = {section.title: None if section.table is None else section.table.to_dict("records") for section in found}

    def text() -> Any:
        from ctxsim.validate.page import markdown
        from ctxsim.validate.report import TITLE

        yield markdown(TITLE, found).rstrip()
        yield from (f"\nWritten to {page}" for page in pages)

    return Answer("validate", {"tables": result, "pages": [str(page) for page in pages]}, text, as_json)


def _served(
    scenario: str, overrides: dict[str, object], out: Path, device: str, dtype: str | None, as_json: bool
) -> Answer:
    _need("torch", "measure", "measure --engine")
    from ctxsim.api.parquet import write_table
    from ctxsim.measure.serving import serve
    from ctxsim.spec.scenario import load_scenario

    served = serve(load_scenario(scenario, overrides), device, dtype)
    served.save(out, write_table)
    result = {"folder": str(out), "requests": len(served.tables["requests"]), "meta": dict(served.meta)}
    return Answer("measure", result, lambda: [f"{result['requests']} requests served; written to {out}"], as_json)


def _engine_checked(
    name: str, overrides: dict[str, object], device: str, out: Path | None, refresh: Path | None, as_json: bool
) -> Answer:
    """Predicts, writes the prediction, serves, compares, writes the report."""
    if out is None:
        message = "expected a folder for prediction and report, found none; give -o"
        raise SpecError(Fault("", None, None, "out", message))
    _need("torch", "measure", "validate --engine")
    from ctxsim.measure.check import check_engine
    from ctxsim.spec.scenario import load_scenario

    scenario = load_scenario(name, overrides)
    table, report = check_engine(scenario, device, out, " ".join(["ctxsim", *sys.argv[1:]]), refresh)
    result = {"quantities": table.to_dict("records"), "pages": [str(path) for path in report]}

    def text() -> Any:
        yield report[0].read_text(encoding="utf-8").rstrip()
        yield from (f"\nWritten to {path}" for path in report)

    return Answer("validate", result, text, as_json, scenario_sha256=scenario.sha256, warnings=scenario.warnings)


def _fit_own(
    name: str, measured: list[Path], profile: Path | None, host: str, out: Path
) -> tuple[CalibrationFile, list[str]]:
    """The calibration of a profile from measured files, and what has too few rows; writes the profile where asked."""
    from ctxsim.calibrate.assemble import fit_plan
    from ctxsim.calibrate.own import OwnFile, own_plan
    from ctxsim.calibrate.profile import profile_text
    from ctxsim.records.measured import read

    files = [OwnFile(path.name, *read(path)) for path in measured]
    if profile is not None:
        profile.parent.mkdir(parents=True, exist_ok=True)
        profile.write_text(profile_text(name, host, str(out.resolve()), files), encoding="utf-8")
    plan, too_few = own_plan(name if profile is None else str(profile), files)
    command = " ".join(["ctxsim", *sys.argv[1:]])
    return fit_plan(plan, Path(), out.stem, command), too_few


def _against(scenario: str, overrides: dict[str, object], measured: Path, as_json: bool) -> Answer:
    from ctxsim.spec.scenario import load_scenario
    from ctxsim.validate.runs import predicted_run, read_run, run_errors

    loaded, run = load_scenario(scenario, overrides), read_run(measured)
    table = run_errors(run, predicted_run(loaded, run))
    result = {"latencies": table.to_dict("records")}

    def text() -> Any:
        from ctxsim.cli.views.measuring import run_view

        return run_view(table)

    return Answer("validate", result, text, as_json, scenario_sha256=loaded.sha256, warnings=loaded.warnings)


def _need(module: str, extra: str, purpose: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise MissingExtraError(extra, purpose)


def _folder(data: Path | None) -> Path:
    """The folder of outside data; raises SpecError where none was named or there is none."""
    if data is None or not data.is_dir():
        found = "none named" if data is None else f"none at {data}"
        message = f"expected the folder of outside data, found {found}; give --data DIR or set CTXSIM_DATA"
        raise SpecError(Fault("", None, None, "data", message))
    return data
