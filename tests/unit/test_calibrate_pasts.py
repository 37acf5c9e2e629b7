"""What a past adds to the spread of fits of whole prompts."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.calibrate import prefill
from ctxsim.calibrate.frames import framed, sizes
from ctxsim.calibrate.pasts import after_past_predictions, past_growths
from ctxsim.calibrate.spreads import BAND
from ctxsim.cost.curves import Device, prefill_attention_s
from ctxsim.spec.calibration import Fit

pd = pytest.importorskip("pandas")

DEVICE = Device((("bf16", 300e12),), 2e12, 100, 40e6, 300e9)
TRUE = {
    "launch_s": 1e-5, "flop_ratio": 0.6, "lag_tokens": 30.0, "tail_ratio": 0.3, "slowdown_ratio": 0.1,
    "slowdown_s": 5e-3, "token_s": 1e-9, "query_ratio": 0.5, "kv_ratio": 0.5,
}  # fmt: skip


def chunk_rows(growth: float):
    """Chunks that take longer than the form by a share that grows with log((past + new) / new)."""
    new, times = np.meshgrid([128, 256, 512, 1024, 2048, 4096, 8192, 16384], [0, 2, 4, 8, 16], indexing="ij")
    rows = pd.DataFrame({"new_tokens": new.ravel(), "past_tokens": (new * times).ravel()}).astype(float)
    rows = rows.assign(batch=1.0, heads=32.0, kv_heads=8.0, head_dim=128.0)
    of = Fit("prefill_attention", "bf16-128", tuple(TRUE.items()), (), 0.0, 0.0)
    names = ("batch", "new_tokens", "past_tokens", "heads", "kv_heads", "head_dim")
    form_s = prefill_attention_s(DEVICE, of, **sizes(rows, *names))
    more = 1 + growth * np.log(1 + rows["past_tokens"] / rows["new_tokens"])
    return framed(rows.assign(seconds=form_s * more), family="prefill_attention", variant="bf16-128")


def test_growth_is_that_of_the_errors_after_a_past():
    rows = chunk_rows(growth=0.1)
    found = past_growths(prefill.FORM, DEVICE, "bf16-128", rows)
    assert list(found) == [prefill.LEAST_TOKENS, 0]
    assert found[prefill.LEAST_TOKENS] == pytest.approx(0.1 / BAND, rel=0.25)


def test_the_fit_has_seen_whole_prompts_alone():
    """What comes after a past is predicted the same whatever it took."""
    slow, plain = (after_past_predictions(prefill.FORM, DEVICE, "bf16-128", chunk_rows(g)) for g in (1.0, 0.0))
    assert slow["predicted_s"].to_numpy() == pytest.approx(plain["predicted_s"].to_numpy())
    assert (slow["seconds"] > plain["seconds"])[slow["past_tokens"] > 0].all()
