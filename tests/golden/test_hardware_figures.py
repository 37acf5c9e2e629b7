"""Machines against the figures they must carry: vendor tables as collected in public, and the paper's."""

from __future__ import annotations

from functools import cache

import pytest

from ctxsim.spec.hardware import Hardware, load_hardware
from ctxsim.units import parse

GB, GIB, TB, TFLOP = 1e9, 2.0**30, 1e12, 1e12
HOUR_S = 3600.0


@cache
def machine(name: str) -> Hardware:
    return load_hardware(name)


@pytest.mark.parametrize(
    ("name", "bf16_tflop_per_s", "hbm_gib", "hbm_tb_per_s", "link_gb_per_s", "power_w", "usd_per_hour"),
    [
        ("a100-40gb-sxm", 312, 40, 1.555, 300, 400, 2.745),
        ("a100-80gb-sxm", 312, 80, 2.039, 300, 400, 3.43),
        ("a100-80gb-pcie", 312, 80, 1.935, 31.5, 300, 1.39),
        ("h100-80gb-sxm", 989, 80, 3.35, 450, 700, 6.88),
        ("h100-80gb-pcie", 756, 80, 2.0, 63, 350, 2.79),
        ("h200-sxm", 989, 141, 4.8, 450, 700, 7.91),
        ("b200-sxm", 2250, 180, 8.0, 900, 1000, 14.24),
        ("gb200", 2500, 186, 8.0, 900, 1200, 10.582),
        ("l40s", 362, 48, 0.864, 31.5, 350, 1.861),
        ("mi300x", 1307, 192, 5.3, 448, 750, 1.85),
        ("mi325x", 1307, 256, 6.0, 448, 1000, 1.95),
        ("tpu-v5e", 197, 16, 0.819, 200, 192, 1.20),
    ],
)
def test_golden_figures(
    name: str,
    bf16_tflop_per_s: float,
    hbm_gib: float,
    hbm_tb_per_s: float,
    link_gb_per_s: float,
    power_w: float,
    usd_per_hour: float,
) -> None:
    loaded = machine(name)
    assert loaded.peak_flop_per_s("bf16") == pytest.approx(bf16_tflop_per_s * TFLOP, rel=1e-12)
    assert loaded.hbm_nominal_bytes == hbm_gib * GIB
    assert loaded.hbm_bytes_per_s == pytest.approx(hbm_tb_per_s * TB, rel=1e-12)
    assert loaded.scale_up_bytes_per_s == pytest.approx(link_gb_per_s * GB, rel=1e-12)
    assert loaded.power_w == power_w
    assert loaded.accelerator_usd_per_s * HOUR_S == pytest.approx(usd_per_hour)


@pytest.mark.parametrize(
    ("name", "visible"),
    [
        ("a100-80gb-sxm", "79.25 GiB"),
        ("a100-40gb-pcie", "40339.3125 MiB"),
        ("h100-80gb-sxm", "79.11 GiB"),
        ("h200-sxm", "139.80 GiB"),
        ("b200-sxm", "178.35 GiB"),
        ("gb200", "184.31 GiB"),
        ("mi300x", "191.98 GiB"),
        ("mi325x", "255.98 GiB"),
        ("tpu-v5e", "15.75 GiB"),
    ],
)
def test_memory_as_the_driver_shows_it(name: str, visible: str) -> None:
    assert machine(name).hbm_bytes == parse(visible, "bytes")


@pytest.mark.parametrize(
    ("name", "ridge_flop_per_byte"),
    [("paper-a100", 156), ("h100-80gb-sxm", 295), ("h200-sxm", 206), ("b200-sxm", 281)],
)
def test_ridge_points(name: str, ridge_flop_per_byte: int) -> None:
    loaded = machine(name)
    assert round((loaded.peak_flop_per_s("bf16") or 0) / loaded.hbm_bytes_per_s) == ridge_flop_per_byte


def test_the_paper_s_machine() -> None:
    loaded = machine("paper-a100")
    assert loaded.peak_flop_per_s("bf16") == 312e12
    assert loaded.hbm_bytes == loaded.hbm_nominal_bytes == 85_899_345_920
    assert loaded.hbm_bytes_per_s == 2e12
    assert loaded.host_link_bytes_per_s == 20e9
    assert loaded.host_link_shared_by == loaded.max_accelerators == 8
    assert loaded.scale_up_bytes_per_s is None


@pytest.mark.parametrize(
    ("name", "gb_per_s", "latency_us"),
    [
        ("a100-40gb-sxm", 25, 4), ("a100-80gb-sxm", 25, 4), ("h100-80gb-sxm", 50, 4), ("h200-sxm", 50, 4),
        ("b200-sxm", 50, 4), ("gb200", 50, 4), ("mi300x", 50, None), ("mi325x", 50, None), ("l40s", None, None),
    ],
)  # fmt: skip
def test_networks_between_nodes(name: str, gb_per_s: float | None, latency_us: float | None) -> None:
    """One NIC an accelerator: 200 Gb/s in a DGX A100, 400 Gb/s since."""
    loaded = machine(name)
    assert loaded.scale_out_bytes_per_s == (None if gb_per_s is None else gb_per_s * GB)
    assert loaded.scale_out_latency_s == (None if latency_us is None else pytest.approx(latency_us * 1e-6))


def test_grace_s_link_is_shared_by_two() -> None:
    assert (machine("gb200").host_link_bytes_per_s, machine("gb200").host_link_shared_by) == (450 * GB, 2)
    assert machine("gb200").max_accelerators == 72
    assert machine("gb200").host_name == "grace"


def test_host_memory_costs_the_difference_of_two_instances() -> None:
    expected = (0.126 - 0.096) / (8 * GIB) / HOUR_S
    assert machine("h100-80gb-sxm").host_memory_usd_per_byte_s == pytest.approx(expected)


def test_disk_costs_eight_cents_a_gigabyte_and_month() -> None:
    assert machine("h100-80gb-sxm").disk_usd_per_byte_s * 730 * HOUR_S * GB == pytest.approx(0.08, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "dtype", "tflop_per_s"),
    [
        ("a100-80gb-sxm", "fp8", None),
        ("a100-80gb-sxm", "int8", 624),
        ("h100-80gb-sxm", "fp8", 1979),
        ("h100-80gb-sxm", "fp4", None),
        ("b200-sxm", "fp4", 9000),
        ("mi300x", "fp8", 2615),
        ("h100-80gb-sxm", "int4", None),
    ],
)
def test_a_format_without_a_rate_is_none(name: str, dtype: str, tflop_per_s: float | None) -> None:
    expected = None if tflop_per_s is None else pytest.approx(tflop_per_s * TFLOP)
    assert machine(name).peak_flop_per_s(dtype) == expected
