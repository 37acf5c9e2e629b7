# %% [markdown]
# # Measured against predicted
#
# ctxsim's own torch engine served two small scenarios on a two-core CPU; the prediction was on disk before it ran. The
# reports lie under `measurements/`.

# %%
import json
from pathlib import Path

import pandas as pd

import ctxsim

here = Path.cwd()
root = next(folder for folder in (here, *here.parents) if (folder / "measurements").is_dir())
reports = [json.loads(path.read_text()) for path in sorted((root / "measurements").glob("engine-*.json"))]
rows = [{"scenario": report["scenario"], **row} for report in reports for row in report["quantities"]]
pd.DataFrame(rows)[
    ["scenario", "quantity", "mean_measured_s", "mean_predicted_s", "mean_error_ratio", "p90_error_ratio"]
]

# %% [markdown]
# How far calibrated times may be off follows from whole shapes that were left out of the fits, and is carried to every
# outcome.

# %%
peak = ctxsim.analyze(ctxsim.load("yi-34b-50k-a100"))
calibrated = ctxsim.analyze(ctxsim.load("yi-34b-50k-a100", overrides={"fidelity": "calibrated"}))
names = list(calibrated.keys["intervals"])
pd.DataFrame(
    {
        "peak": [peak.keys[name] for name in names],
        "calibrated": [calibrated.keys[name] for name in names],
        "low": [calibrated.keys["intervals"][name][0] for name in names],
        "high": [calibrated.keys["intervals"][name][1] for name in names],
    },
    index=names,
)
