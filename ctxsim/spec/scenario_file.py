"""A scenario as its file has it: the schema, before names are looked up and parts are checked against each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ctxsim.spec.serving import Deployment, PriceOverride, Run, Serving, Slo
from ctxsim.spec.validation import Spec
from ctxsim.spec.workload import Workload

Name = Annotated[str, Field(min_length=1)]


class ScenarioFile(Spec):
    """A file of ``scenarios/``; model, hardware and host are names or paths (relative to the file).

    ``host`` puts the accelerator into another host than its profile names, ``calibration`` takes another calibration of
    it than the profile's.
    """

    name: Name
    description: str = ""
    model: Name
    hardware: Name
    host: Name | None = None
    fidelity: Literal["peak", "calibrated"] = "peak"
    calibration: Name | None = None
    deployment: Deployment = Deployment()
    serving: Serving = Serving()
    techniques: Annotated[tuple[str, ...], Field(strict=False)] = ()
    workload: Workload
    slo: Slo = Slo()
    price: PriceOverride = PriceOverride()
    run: Run = Run()
