"""A vLLM run on an RTX PRO 6000 against kernels of the same GPU, and what fits of whole prompts say of long pasts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ctxsim.calibrate import frames, llmservingsim
from ctxsim.calibrate.pasts import after_past_predictions
from ctxsim.calibrate.plans import ONE_MODEL
from ctxsim.calibrate.prefill import LEAST_TOKENS
from ctxsim.cost.curves import Device
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.scenario import load_scenario
from ctxsim.validate.errors import error_table
from ctxsim.validate.page import Section
from ctxsim.validate.runs import predicted_run, read_run, run_errors
from ctxsim.validate.targets import at_most
from ctxsim.validate.workers import Spread

SCENARIO, HARDWARE, VARIANT = "rtx-pro-6000-chat", "rtx-pro-6000", "bf16-128"
LIMITS = {"ttft_s": ("TTFT", 0.15), "tpot_s": ("TPOT", 0.05)}
EDGES = (-1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 32.0, np.inf)
NAMES = ("none", "up to 1/2", "1/2 to 1", "1 to 2", "2 to 4", "4 to 8", "8 to 32", "over 32")
RUN = (
    "A run of vLLM 0.19, Llama-3.1-8B in bf16, 300 requests (LLMServingSim): kernels of the same GPU are given beside "
    "it, and nothing else is used but the engine's arguments and when requests of which lengths came. No time of the "
    "host is added. Errors of means and quantiles; request mape: of single requests, whose TTFT depends on which "
    "others they meet."
)
PASTS = (
    "The only table at hand with chunks after a past. A fit of whole prompts alone, as those of A100 and H200 are, "
    "asked for chunks after a past that is so many times the chunk: what these fits are worth in chunked prefill of "
    "long contexts, and by how much their stated spread grows with the past. The shipped fit of this GPU follows the "
    "pasts."
)


def run_checks(folder: Path, spread: Spread) -> list[Section]:
    """The sections of the run and of its chunks; folder: where requests and kernels lie."""
    return [*_run_sections(folder), Section("RTX PRO 6000: chunks after a past", PASTS, past_table(folder / "kernels"))]


def past_table(kernels: Path) -> pd.DataFrame:
    """Errors on chunks by past over new tokens, of a fit that saw whole prompts alone."""
    rows = frames.of(llmservingsim.read_prefill(kernels), "prefill_attention", VARIANT)
    device, form = Device.of(load_hardware(HARDWARE)), ONE_MODEL["prefill_attention"]
    ratio = rows["past_tokens"] / rows["new_tokens"]
    found = after_past_predictions(form, device, VARIANT, rows).assign(
        measured_s=rows["seconds"],
        band_ratio=np.nan,
        chunk=np.where(rows["new_tokens"] >= LEAST_TOKENS, f"{LEAST_TOKENS} tokens and more", "shorter"),
        past_over_new=pd.cut(ratio, list(EDGES), labels=list(NAMES)),
    )
    table = error_table(found, ["chunk", "past_over_new"]).drop(columns=["band_ratio", "covered_ratio"])
    return table.astype({"past_over_new": str})


def _run_sections(folder: Path) -> Iterator[Section]:
    run = read_run(folder / "requests.jsonl")
    errors = run_errors(run, predicted_run(load_scenario(SCENARIO), run))
    means = errors.set_index("latency")["mean_error_ratio"].abs()
    targets = tuple(
        at_most(f"vLLM on RTX PRO 6000 from its kernels: mean {name}", float(means[latency]), limit)
        for latency, (name, limit) in LIMITS.items()
    )
    yield Section("vLLM on RTX PRO 6000, from kernels alone", RUN, errors, targets)
