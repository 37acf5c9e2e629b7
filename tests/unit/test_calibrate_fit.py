"""Fits find the coefficients that made the data, say which they cannot find, and are judged by what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctxsim.calibrate import elementwise, gemm, host
from ctxsim.calibrate.decode import FORM as DECODE
from ctxsim.calibrate.form import fit_form
from ctxsim.calibrate.frames import framed, sizes
from ctxsim.calibrate.leave_out import (
    DECADE,
    LEAST_GROWTH,
    OCTAVE,
    Judged,
    beyond_predictions,
    judge,
    left_out_predictions,
    log_beyond,
    shorter,
)
from ctxsim.calibrate.leftover import fit_grid
from ctxsim.calibrate.robust import Start, fit_coefficients
from ctxsim.calibrate.splits import both, by_columns, by_decades
from ctxsim.calibrate.spreads import BAND, Spreads, errors_of_predictions, spread_ratio
from ctxsim.cost.curves import Device, elementwise_s, gemm_s, log_ratio
from ctxsim.spec.calibration import Fit

pd = pytest.importorskip("pandas")

DEVICE = Device((("bf16", 300e12),), 2e12, 100, 40e6, 300e9)
TRUE_GEMM = {"launch_s": 4e-6, "hbm_ratio": 0.8, "sharpness": 4.0, "fill_values": 100.0} | {
    start.name: share
    for start, share in zip(
        (s for s in gemm.FORM.starts if s.name.startswith("tile")), (0.3, 0.55, 0.65, 0.72, 0.85), strict=True
    )
}


def made(family, coefficients):
    return Fit(family, "bf16", tuple(coefficients.items()), (), 0.0, 0.0)


def line_rows(noise=0.0, launch_s=3e-6, ratio=0.4):
    moved = np.geomspace(1e4, 1e9, 120)
    seconds = elementwise_s(DEVICE, made("elementwise", {"launch_s": launch_s, "hbm_ratio": ratio}), moved, 8)
    wobble = np.exp(noise * np.sin(np.arange(120) * 7.3))
    rows = pd.DataFrame({"moved_bytes": moved, "seconds": seconds * wobble})
    return framed(rows, family="elementwise", variant="bf16")


def gemm_rows():
    m, n, k = np.meshgrid([1, 16, 64, 200, 1000, 4096], [512, 1024, 3072, 8192], [512, 2048, 8192], indexing="ij")
    rows = pd.DataFrame({"m": m.ravel(), "n": n.ravel(), "k": k.ravel()}).astype(float)
    rows["seconds"] = gemm_s(DEVICE, made("gemm", TRUE_GEMM), "bf16", **sizes(rows, "m", "n", "k"))
    return framed(rows, family="gemm", variant="bf16", dtype="bf16")


def test_known_coefficients_come_back():
    fitted = fit_form(elementwise.FORM, DEVICE, "bf16", line_rows())
    assert fitted.fit["launch_s"] == pytest.approx(3e-6, rel=1e-3)
    assert fitted.fit["hbm_ratio"] == pytest.approx(0.4, rel=1e-3)
    assert fitted.rows == 120
    assert fitted.fit.measured == (("moved_bytes", pytest.approx(1e4), pytest.approx(1e9)),)


def test_known_products_come_back():
    form = replace(gemm.FORM, axes=())
    rows = gemm_rows()
    fitted = fit_form(form, DEVICE, "bf16", rows)
    errors = form.seconds(DEVICE, fitted.fit, rows) / rows["seconds"] - 1
    assert np.abs(errors).mean() < 0.01
    assert fitted.fit["launch_s"] == pytest.approx(TRUE_GEMM["launch_s"], rel=0.05)
    assert fitted.fit["hbm_ratio"] == pytest.approx(TRUE_GEMM["hbm_ratio"], rel=0.05)
    assert fitted.fit["tile_128x256_ratio"] == pytest.approx(0.85, rel=0.05)


def test_one_bad_row_bends_nothing():
    rows = line_rows()
    rows.loc[50, "seconds"] *= 30
    fit = fit_form(elementwise.FORM, DEVICE, "bf16", rows).fit
    assert fit["launch_s"] == pytest.approx(3e-6, rel=0.02)
    assert fit["hbm_ratio"] == pytest.approx(0.4, rel=0.02)


def test_standard_errors_are_of_the_size_of_the_noise():
    estimates = fit_form(elementwise.FORM, DEVICE, "bf16", line_rows(noise=0.05)).estimates
    for estimate in estimates.values():
        assert estimate.error is not None
        assert 0.001 < estimate.error < 0.03


def test_what_leaves_no_trace_is_not_identified():
    """Times of long messages say nothing of a launch."""
    moved = np.geomspace(1e10, 1e13, 40)
    rows = framed(pd.DataFrame({"moved_bytes": moved, "seconds": moved / 1e12 * np.exp(0.02 * np.cos(moved))}))
    estimates = fit_form(elementwise.FORM, DEVICE, "bf16", rows).estimates
    assert estimates["launch_s"].error is None
    assert estimates["hbm_ratio"].error is not None


def test_a_coefficient_at_its_bound_is_not_identified():
    measured = np.full(30, 2.0)
    starts = (Start("level", 0.5, 0.1, 1.0),)
    found = fit_coefficients(lambda c: np.full(30, c["level"]), measured, starts, np.ones(30))
    assert found["level"].value == pytest.approx(1.0, rel=1e-3)
    assert found["level"].error is None


def test_rows_without_weight_count_for_nothing():
    measured = np.array([1.0, 1.0, 50.0])
    starts = (Start("level", 0.5, 0.01, 100.0),)
    found = fit_coefficients(lambda c: np.full(3, c["level"]), measured, starts, np.array([1.0, 1.0, 0.0]))
    assert found["level"].value == pytest.approx(1.0, rel=1e-4)


def test_a_grid_follows_its_rows_and_knots_without_rows_follow_their_neighbours():
    axes = (("m", (1.0, 10.0, 100.0, 1000.0)),)
    m = np.tile([1.0, 10.0, 1000.0], 50)
    values = fit_grid(axes, {"m": m}, 0.1 * np.log10(m), 0.1)
    assert values == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=0.04)
    assert all(value == round(value, 4) for value in values)
    fit = Fit("gemm", "bf16", (), (), 0.0, 0.0, axes, values)
    assert log_ratio(fit, m=50.0) == pytest.approx(0.17, abs=0.04)


def test_a_grid_spans_no_more_than_was_measured():
    form = replace(elementwise.FORM, axes=(("moved_bytes", tuple(10.0**power for power in range(15))),))
    fit = fit_form(form, DEVICE, "bf16", line_rows(noise=0.05)).fit
    assert fit.axes[0][1] == tuple(10.0**power for power in range(4, 10))


def test_left_out_shapes_are_predicted_by_what_is_left():
    rows = line_rows()
    predictions = left_out_predictions(elementwise.FORM, DEVICE, "bf16", rows)
    assert len(predictions) == len(rows)
    assert (
        sorted(set(predictions["split"]))
        == [f"moved_bytes of 1e{power} to 1e{power + 1}" for power in (4, 5, 6, 7, 8)]
        + ["moved_bytes of 1e9 to 1e10"][: 0 if rows["moved_bytes"].max() < 1e9 else 1]
    )
    assert np.abs(errors_of_predictions(predictions)).max() < 0.01
    ends = predictions[predictions["split"] == "moved_bytes of 1e4 to 1e5"]
    assert not ends["in_range"].any()


def test_rows_that_differ_from_their_neighbours_are_not_used_to_predict_themselves():
    """A shape that is twice as slow as the others is predicted as if it were like them."""
    rows = gemm_rows()
    rows.loc[rows["n"] == 3072, "seconds"] *= 2
    predictions = left_out_predictions(replace(gemm.FORM, axes=()), DEVICE, "bf16", rows)
    odd = predictions[(predictions["split"] == "hidden size 3072") & (predictions["n"] == 3072)]
    assert errors_of_predictions(odd).mean() == pytest.approx(1.0, abs=0.3)


def test_bands_grow_beyond_what_was_measured():
    judged, within = judge(elementwise.FORM, DEVICE, "bf16", line_rows(noise=0.05))
    bands = judged.band_ratio(within["moved_bytes"].to_numpy(), np.zeros(len(within)))
    covered = (np.abs(errors_of_predictions(within)) <= bands).mean()
    assert 0.9 <= covered <= 0.9 + 2 * len(judged.spreads.ratios) / len(within)
    assert judged.spread_growth_ratio > 0
    two = Judged(0.2, Spreads((8.0, 1.0), (0.1, 0.3)), 0.02)
    found = two.band_ratio(np.array([9.0, 64.0, 7.0]), np.array([0.0, 2.0, 0.0]))
    assert found == pytest.approx([0.1 * BAND, 0.14 * BAND, 0.3 * BAND])


def test_distance_from_what_was_measured_is_logarithmic_and_adds_up():
    fit = Fit("gemm", "bf16", (), (("m", 1.0, 100.0), ("n", 10.0, 1000.0)), 0.0, 0.0)
    rows = pd.DataFrame({"m": [50.0, 200.0, 100.0 * np.e], "n": [10.0, 5.0, 1000.0 * np.e]})
    assert log_beyond(fit, rows) == pytest.approx([0.0, 2 * np.log(2), 2.0])


def test_growth_is_that_of_the_last_octave_from_where_it_was_seen_to_where_it_was_not():
    """Half as slow again in the whole octave: seen of other rows it is no surprise, to the fit without it it is."""
    rows = line_rows(noise=0.05)
    rows.loc[rows["moved_bytes"] > rows["moved_bytes"].max() / 2, "seconds"] *= 1.5
    judged, within = judge(elementwise.FORM, DEVICE, "bf16", rows)
    last = beyond_predictions(elementwise.FORM, DEVICE, "bf16", rows, OCTAVE)
    assert set(last["split"]) == {"longest octave of moved_bytes"}
    seen = within[within["moved_bytes"] > rows["moved_bytes"].max() / 2]
    more = spread_ratio(last) - spread_ratio(seen)
    assert judged.spread_growth_ratio == pytest.approx(more / last["beyond"].mean())
    least, _ = judge(elementwise.FORM, DEVICE, "bf16", line_rows(noise=0.05))
    assert least.spread_growth_ratio >= LEAST_GROWTH * least.spreads.ratios[0] / np.log(DECADE)


def test_the_longest_decade_is_the_last_factor_of_eight():
    rows = pd.DataFrame({"context_tokens": [16.0, 16384.0, 16385.0, 65536.0, 131072.0]})
    assert shorter(DECODE, rows, DECADE).tolist() == [True, True, False, False, False]
    assert shorter(DECODE, rows, OCTAVE).tolist() == [True, True, True, True, False]


def test_splits_of_two_kinds_leave_every_row_out_twice():
    rows = pd.DataFrame({"accelerators": [2.0, 2.0, 4.0], "moved_bytes": [10.0, 500.0, 20.0]})
    found = both(by_columns("accelerators"), by_decades("moved_bytes"))(rows)
    assert [label for label, _ in found][:3] == ["accelerators 2", "accelerators 4", "moved_bytes of 1e1 to 1e2"]
    assert sum(mask for _, mask in found).tolist() == [2, 2, 2]


def test_sets_that_stay_in_the_cache_are_not_judged():
    base = {"batch": 1.0, "heads": 8.0, "kv_heads": 8.0, "head_dim": 128.0, "new_tokens": 1.0}
    rows = pd.DataFrame([base | {"past_tokens": past - 1.0} for past in (16.0, 10_000.0, 50_000.0, 100_000.0)])
    rows = framed(rows.assign(seconds=1.0), family="decode_attention", kv_dtype="bf16", variant="bf16-128")
    weights = DECODE.weights(DEVICE, rows)  # 4 KiB a token: 0.002, 1, 5 and 10 times 40 MB
    assert weights[3] == 1
    assert 0 < weights[0] < weights[2] < 1
    assert weights[1] == 0


def test_host_steps_are_lines_in_sequences():
    sequences = np.array([8.0, 16.0, 32.0, 64.0, 128.0])
    rows = framed(pd.DataFrame({"sequences": sequences, "seconds": 1e-4 + 1e-5 * sequences}), family="host")
    fit = fit_form(host.FORM, DEVICE, "", rows).fit
    assert (fit["iteration_s"], fit["sequence_s"]) == (pytest.approx(1e-4, rel=1e-2), pytest.approx(1e-5, rel=1e-2))
