"""Prompt and token times that Splitwise measured in 2023, by tensor parallelism, lengths and batch.

A row is a batch that starts together: one pass over all prompts, then a token for all of them in each pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctxsim.cost.model import CostModel
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.scenario import load_scenario
from ctxsim.units import parse
from ctxsim.validate.errors import error_table
from ctxsim.validate.page import Section
from ctxsim.validate.workers import Spread

MODELS = {"llama2-70b": "llama-2-70b"}
"""Shipped models by the names of the table; BLOOM has no geometry here."""

HARDWARE = {"a100-80gb": "a100-80gb-sxm", "h100-80gb": "h100-80gb-sxm"}
"""Profiles by the names of the table; the H100 whose power is capped is none of ours."""

KEYS = ("model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "token_size")
TIMES = {"prompt_time": "prompt", "token_time": "token"}
LEAST_RATIO = 0.5
"""Of the time of a smaller batch of the same prompts: whatever took less has not computed all of its prompts."""

MILLISECOND_S = parse("1 ms", "seconds")
GROUPS = ("hardware", "tensor_parallel", "latency", "batch")
WORDS = (
    "Llama-2-70B as Splitwise measured it in 2023, predicted from kernels alone; nothing is fitted to these rows, and "
    "they have no target. The times are those of that engine more than of the device: on A100 a token takes 45 ms on "
    "four accelerators and on eight, so every pass waits for the host, and 32 prompts at once reach 0.55 of the peak "
    "on two accelerators, 0.26 on eight. H100 is predicted by what H200 was measured to reach. Batches that took less "
    "than half of the time of a smaller one are left out: of 64 prompts on two accelerators most were not computed."
)


def read_splitwise(path: str | Path) -> pd.DataFrame:
    """Median ``prompt_time`` and ``token_time`` (ms) of each batch that a scenario can say; keys under our names."""
    table = pd.read_csv(path)
    if missing := [name for name in (*KEYS, *TIMES) if name not in table]:
        message = f"expected the columns {', '.join((*KEYS, *TIMES))}, found no {', '.join(missing)}"
        raise SpecError(Fault(str(path), None, None, "", message))
    known = table[table["model"].isin(MODELS) & table["hardware"].isin(HARDWARE)]
    rows = known.groupby(list(KEYS), as_index=False)[list(TIMES)].median()
    rows = rows.assign(model=rows["model"].map(MODELS), hardware=rows["hardware"].map(HARDWARE))
    longest = rows.groupby(["model", "hardware", "tensor_parallel", "prompt_size"])["prompt_time"].cummax()
    return rows[rows["prompt_time"] >= LEAST_RATIO * longest].reset_index(drop=True)


def predict_splitwise(path: str | Path) -> pd.DataFrame:
    """Measured and predicted seconds of each batch: a row for its prompts, and one for a token half way.

    ``batch``: whether it is one sequence or several. No band is stated.
    """
    return pd.DataFrame([found for _, row in read_splitwise(path).iterrows() for found in _predicted(row)])


def splitwise_checks(table: Path, spread: Spread) -> list[Section]:
    """The section of Splitwise's table."""
    found = error_table(predict_splitwise(table), GROUPS)
    return [Section("Llama-2-70B on A100 and H100, an engine of 2023", WORDS, found)]


def _predicted(row: pd.Series) -> Iterator[dict[str, Any]]:
    overrides = {
        "model": row["model"],
        "hardware": row["hardware"],
        "fidelity": "calibrated",
        "deployment.tensor_parallel": int(row["tensor_parallel"]),
    }
    cost = CostModel(load_scenario("llama-8b-chat", overrides))
    prompt, sequences = int(row["prompt_size"]), int(row["batch_size"])
    half_way = prompt + int(row["token_size"]) // 2
    passes = {"prompt_time": cost.batch(prompt, 0, sequences=sequences)}
    passes["token_time"] = cost.batch(1, half_way, sequences=sequences)
    about = {name: row[name] for name in KEYS} | {"batch": "one" if sequences == 1 else "several"}
    for name, batch in passes.items():
        measured_s = row[name] * MILLISECOND_S
        predicted_s = float(cost.pass_s(batch))
        yield about | {
            "latency": TIMES[name], "measured_s": measured_s, "predicted_s": predicted_s, "band_ratio": np.nan,
        }  # fmt: skip
