"""Own measurements into calibrations and profiles: what was put in comes out, and what is too little is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import ctxsim

from ctxsim.calibrate.own import OwnFile, own_plan
from ctxsim.calibrate.profile import profile_text
from ctxsim.cost.curves import Device, copy_s, host_s, masked_prefill_s, packed_gemm_s, serial_decode_s
from ctxsim.errors import SpecError
from ctxsim.measure import Point, write
from ctxsim.measure.rows import row
from ctxsim.records.measured import frame_of
from ctxsim.spec.calibration import Fit, load_calibration
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.hardware_file import read_profile

META = {
    "device": "a processor", "kind": "cpu", "threads": 2, "compute_units": 2, "torch": "2.13", "cache_bytes": 2**25,
    "memory_bytes": 2**34, "command": "ctxsim measure --device cpu -o m.parquet",
}  # fmt: skip
TRUE = Device((("bf16", 800e9), ("fp32", 200e9)), 20e9, 2, 2**25, None)
LINK = 10e9


def fit(family: str, **coefficients: float) -> Fit:
    return Fit(family, "fp32", tuple(coefficients.items()), (), 0.0, 0.0)


GEMM = fit("packed_gemm", launch_s=1e-5, hbm_ratio=1.0, packed_ratio=0.6, activation_ratio=1.0, flop_ratio=1.0,
           sharpness=1.2)  # fmt: skip
DECODE = fit("serial_decode", call_s=3e-5, hbm_ratio=0.7, flop_ratio=0.3, vector_ratio=0.1)
PREFILL = fit("masked_prefill", call_s=5e-5, flop_ratio=0.6, mask_ratio=0.5, lag_tokens=200.0, score_values=20.0)
COPY = fit("copy", start_s=2e-5, descriptor_s=4e-6, ratio=0.7)
HEADS = ((16, 4, 64), (8, 2, 128), (32, 8, 128), (4, 1, 64), (8, 8, 64), (16, 16, 128))


def measured() -> pd.DataFrame:
    rows = []
    for m in (1, 2, 8, 64, 512, 4096):
        for n, k in ((512, 512), (1024, 1024), (4096, 1024), (1024, 4096)):
            for dtype in ("fp32", "bf16"):
                seconds = float(packed_gemm_s(TRUE, GEMM, dtype, m, n, k))
                rows.append(row(Point("gemm", dtype, m=m, n=n, k=k), seconds, 0.0, 9))
    for heads, kv_heads, size in HEADS:
        shape = {"heads": heads, "kv_heads": kv_heads, "head_dim": size}
        for past in (0, 255, 4095, 16383):
            for batch in (1, 4):
                seconds = float(serial_decode_s(TRUE, DECODE, "fp32", batch, past + 1, **shape))
                point = Point("decode_attention", "fp32", "fp32", batch=batch, new_tokens=1, past_tokens=past, **shape)
                rows.append(row(point, seconds, 0.0, 9))
            for new in (64, 512, 2048):
                seconds = float(masked_prefill_s(TRUE, PREFILL, "fp32", 1, new, past, heads, size))
                point = Point("prefill_attention", "fp32", "fp32", batch=1, new_tokens=new, past_tokens=past, **shape)
                rows.append(row(point, seconds, 0.0, 9))
    for count in (1, 16, 256):
        for size in (4**6, 4**8, 4**10):
            seconds = float(copy_s(COPY, LINK, size * count, count))
            point = Point("copy", moved_bytes=size * count, block_bytes=size, descriptors=count, direction="device",
                          beside="nothing")  # fmt: skip
            rows.append(row(point, seconds, 0.0, 9))
    for batch in (1, 2, 4, 8, 16):
        rows.append(row(Point("host", batch=batch), 2e-4 + 5e-6 * batch, 0.0, 9))
    return frame_of(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of measurements, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("own")
    write(measured(), META, folder / "m.parquet")
    words = ("calibrate", "my-cpu", "--from", str(folder / "m.parquet"), "--profile", str(folder / "my-cpu.yaml"))
    found = ctxsim(*words, "-o", str(folder / "my-cpu.json"), "--json")
    assert found.code == 0, found.err
    (folder / "answer.json").write_text(found.out)
    return folder


def test_the_profile_has_the_best_rates_and_where_they_are_from(folder: Path) -> None:
    profile, _ = read_profile(str(folder / "my-cpu.yaml"))
    rows = measured()
    best = (rows["flop"] / rows["seconds"])[(rows["family"] == "gemm") & (rows["dtype"] == "fp32")].max()
    peak = profile.accelerator.peak_flop_per_s.fp32
    assert peak is not None
    assert peak.value == pytest.approx(best, rel=1e-3)
    assert peak.note == "product of 4096 x 1024 and 1024 x 4096"
    assert "a processor" in profile.sources["own"]
    assert "ctxsim measure --device cpu" in profile.sources["own"]
    hardware = load_hardware(str(folder / "my-cpu.yaml"))
    assert (hardware.compute_units, hardware.hbm_bytes, hardware.on_chip_cache_bytes) == (2, 2**34, 2**25)
    copies = rows[rows["family"] == "copy"]
    assert hardware.host_link_bytes_per_s == pytest.approx((copies["moved_bytes"] / copies["seconds"]).max(), rel=1e-3)


def test_fits_follow_the_rows_and_name_their_file(folder: Path) -> None:
    calibration = load_calibration(str(folder / "my-cpu.json"))
    hardware = load_hardware(str(folder / "my-cpu.yaml"))
    device = Device.of(hardware)
    assert calibration.hardware == "my-cpu"
    found = {(one.family, one.variant): one for one in calibration.fits}
    assert set(found) == {
        ("packed_gemm", "fp32"), ("packed_gemm", "bf16"), ("serial_decode", "fp32"), ("masked_prefill", "fp32"),
        ("copy", "to_host"), ("copy", "to_device"), ("host", "engine"),
    }  # fmt: skip
    product = packed_gemm_s(device, found["packed_gemm", "fp32"], "fp32", 32, 2048, 2048)
    assert product == pytest.approx(float(packed_gemm_s(TRUE, GEMM, "fp32", 32, 2048, 2048)), rel=0.05)
    decode = serial_decode_s(device, found["serial_decode", "fp32"], "fp32", 2, 2000, 16, 4, 64)
    assert decode == pytest.approx(float(serial_decode_s(TRUE, DECODE, "fp32", 2, 2000, 16, 4, 64)), rel=0.05)
    chunk = masked_prefill_s(device, found["masked_prefill", "fp32"], "fp32", 1, 256, 3000, 16, 64)
    assert chunk == pytest.approx(float(masked_prefill_s(TRUE, PREFILL, "fp32", 1, 256, 3000, 16, 64)), rel=0.05)
    copied = copy_s(found["copy", "to_host"], hardware.host_link_bytes_per_s, 2e6, 4)
    assert copied == pytest.approx(float(copy_s(COPY, LINK, 2e6, 4)), rel=0.05)
    assert host_s(found["host", "engine"], 12) == pytest.approx(2e-4 + 12 * 5e-6, rel=0.01)
    assert "m.parquet" in json.loads((folder / "my-cpu.json").read_text())["sources"]["own"]


def test_fits_say_by_which_size_their_spreads_are(folder: Path) -> None:
    fits = load_calibration(str(folder / "my-cpu.json")).fits
    sizes = {fit.family: fit.size for fit in fits}
    assert sizes["packed_gemm"] == "m"
    assert sizes["serial_decode"] == "context_tokens"
    assert sizes["copy"] == "moved_bytes"
    assert all(fit.size_spreads for fit in fits)


def test_what_has_too_few_rows_is_said_and_left_out(folder: Path) -> None:
    rows = measured()
    few = rows[(rows["family"] != "host") | (rows["batch"] < 4)]
    plan, too_few = own_plan(str(folder / "my-cpu.yaml"), [OwnFile("few", few, META)])
    assert too_few == ["host engine: no fit, expected 4 rows or more, found 2"]
    assert "host" not in {part.form.family for part in plan.parts}
    with pytest.raises(SpecError, match="expected enough rows for a fit, found host engine"):
        own_plan(str(folder / "my-cpu.yaml"), [OwnFile("few", few[few["family"] == "host"], META)])


def test_rows_that_are_all_alike_make_no_fit(folder: Path) -> None:
    """All of one product: nothing is left to predict it from."""
    rows = measured()
    alike = pd.concat([rows[(rows["n"] == 512)]] * 2)
    alike = alike.assign(seconds=alike["seconds"] * np.linspace(1, 2, len(alike)), m=range(1, len(alike) + 1))
    both = pd.concat([alike[alike["dtype"] == "fp32"], rows[rows["family"] == "host"]])
    _, too_few = own_plan(str(folder / "my-cpu.yaml"), [OwnFile("alike", both, META)])
    assert too_few == ["packed_gemm fp32: no fit, expected shapes that differ, found 12 rows of which 12 are alike"]


def test_an_accelerator_has_forms_of_tiles_and_a_link_each_way(folder: Path) -> None:
    rows = measured().assign(pinned=True)
    copies = rows[rows["family"] == "copy"]
    ways = pd.concat([copies.assign(direction=way) for way in ("to_host", "to_device", "both")])
    unpinned = copies.assign(direction="to_host", pinned=False)
    beside = copies.assign(direction="to_device", beside="gemm")
    gemms = rows[rows["family"] == "gemm"]
    many = pd.concat([gemms.assign(m=gemms["m"] + more) for more in range(2)])
    meta = META | {"kind": "cuda"}
    frame = pd.concat([many, ways, unpinned, beside])
    plan, _ = own_plan(str(folder / "my-cpu.yaml"), [OwnFile("gpu", frame, meta)])
    found = {(part.form.family, variant) for part in plan.parts for variant in part.reader(Path())["variant"]}
    assert found == {
        ("gemm", "bf16"), ("gemm", "fp32"), ("copy", "to_host"), ("copy", "to_device"), ("copy", "both"),
        ("copy", "to_host-pageable"), ("copy", "to_device-beside-gemm"),
    }  # fmt: skip


def test_a_profile_needs_products_in_bf16_and_copies() -> None:
    rows = measured()
    with pytest.raises(SpecError, match="profile: expected products in bf16, found none"):
        profile_text("x", "h", None, [OwnFile("m", rows[rows["dtype"] != "bf16"], META)])
    with pytest.raises(SpecError, match="profile: expected copies"):
        profile_text("x", "h", None, [OwnFile("m", rows[rows["family"] == "gemm"], META)])


def test_the_answer_has_every_fit(folder: Path) -> None:
    answer = json.loads((folder / "answer.json").read_text())
    assert len(answer["result"]["fits"]) == 7
    assert answer["warnings"] == []
