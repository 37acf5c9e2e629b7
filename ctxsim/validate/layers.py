"""Vidur's layers on an A100: the layer of one model by a fit of the other, and what sustained clocks cost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ctxsim.calibrate import elementwise, gemm, vidur
from ctxsim.calibrate.form import Form, fit_form
from ctxsim.calibrate.frames import framed, of
from ctxsim.calibrate.plans import VIDUR_GEMM
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import load_calibration
from ctxsim.spec.hardware import load_hardware
from ctxsim.validate.errors import error_row, error_table
from ctxsim.validate.page import Section
from ctxsim.validate.targets import at_most
from ctxsim.validate.workers import Spread

HARDWARE = "a100-80gb-sxm"
PAIRS = (("llama-3.1-8b", "llama-3.1-70b"), ("llama-3.1-70b", "llama-3.1-8b"))
"""(fitted, asked)."""

LEAST_TOKENS = 128
LARGE_TOKENS = 1000
"""Of a product from which on it is the clocks that tell the two sources apart."""

MOST_RATIO = 0.06
FORMS: dict[str, Form] = {"gemm": VIDUR_GEMM, "elementwise": elementwise.FORM}
OTHER = (
    "Products and elementwise operations of one layer, summed, by a fit that saw the other model alone; tensor "
    "parallelism 1 to 8, 128 tokens and more. No band: sums of operations have none of their own."
)
CLOCKS = (
    "Vidur's products of 1,000 tokens and more over what the fit of vLLM's kernels says, measured one by one: in a "
    "layer's sequence the device runs at sustained clocks. The two are shipped apart, and a scenario can take either."
)


def layer_checks(folder: Path, spread: Spread) -> list[Section]:
    """The sections of Vidur's layers."""
    pairs = spread(_layers, [(folder, *pair) for pair in PAIRS])
    found: pd.DataFrame = pd.concat(pairs, ignore_index=True)
    targets = tuple(
        at_most(f"Vidur, layers of {asked} by a fit of {fitted}: MAPE", error_row(rows)["mape_ratio"], MOST_RATIO)
        for (fitted, asked), rows in zip(PAIRS, pairs, strict=True)
    )
    return [
        Section("Vidur on A100: layers of the other model", OTHER, error_table(found, ["asked", "shards"]), targets),
        Section("Vidur against vLLM on A100: clocks", CLOCKS, error_table(clock_errors(folder), ["model"])),
    ]


def layer_errors(folder: Path, fitted: str, asked: str) -> pd.DataFrame:
    """Measured and predicted seconds of one layer's summed operations, by tokens and shards; columns of error tables.

    folder: Vidur's. The fits follow the operations of model ``fitted`` alone and are asked for those of ``asked``.
    """
    device = Device.of(load_hardware(HARDWARE))
    seen = vidur.read_layers(folder, fitted).drop(columns=["operation", "shards", "tokens"])
    layer = vidur.read_layers(folder, asked)
    layer = layer[layer["tokens"] >= LEAST_TOKENS]
    parts = []
    for family, form in FORMS.items():
        for variant in sorted(set(layer.loc[layer["family"] == family, "variant"])):
            fit = fit_form(form, device, variant, framed(of(seen, family, variant))).fit
            rows = of(layer, family, variant)
            parts.append(rows.assign(predicted_s=form.seconds(device, fit, rows), measured_s=rows["seconds"]))
    sums = pd.concat(parts).groupby(["tokens", "shards"], as_index=False)[["predicted_s", "measured_s"]].sum()
    return sums.assign(asked=asked, shards=sums["shards"].astype(int), band_ratio=float("nan"))


def clock_errors(folder: Path) -> pd.DataFrame:
    """Large products of both models as Vidur measured them, and as the fit of vLLM's kernels predicts them."""
    device, fit = Device.of(load_hardware(HARDWARE)), load_calibration(f"{HARDWARE}-vllm").fit("gemm", "bf16")
    assert fit is not None
    parts = []
    for model in vidur.MODELS.values():
        rows = vidur.read_layers(folder, model)
        rows = rows[(rows["family"] == "gemm") & (rows["tokens"] >= LARGE_TOKENS)]
        parts.append(rows.assign(model=model, predicted_s=gemm.FORM.seconds(device, fit, rows)))
    found = pd.concat(parts, ignore_index=True).rename(columns={"seconds": "measured_s"})
    return found.assign(band_ratio=float("nan"))


def _layers(job: tuple[Path, str, str]) -> pd.DataFrame:
    return layer_errors(*job)
