"""Profiles and hosts: every shipped file is under test by being there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.catalog import find, names
from ctxsim.spec.hardware import Hardware, load_hardware
from ctxsim.spec.hardware_file import HardwareFile, HostFile, read_host, read_profile, sourced_values

GB, GIB, TB, TFLOP = 1e9, 2.0**30, 1e12, 1e12
HOUR_S = 3600.0
OWN = ("cpu-2core-zen5", "vm-2core-zen5")
"""A profile whose peaks are own measurements, and its host: what was at hand, nobody rents it out."""

PCIE_GT_PER_S = {"3": 8, "4": 16, "5": 32}


@cache
def profile_of(name: str) -> HardwareFile:
    return read_profile(name)[0]


@cache
def host_of(name: str) -> HostFile:
    return read_host(name)


@cache
def machine(name: str) -> Hardware:
    return load_hardware(name)


@pytest.fixture(params=names("hardware"))
def profile(request: pytest.FixtureRequest) -> HardwareFile:
    return profile_of(request.param)


@pytest.fixture(params=names("host"))
def host(request: pytest.FixtureRequest) -> HostFile:
    return host_of(request.param)


def test_the_profiles_and_hosts_asked_for_ship() -> None:
    assert set(names("hardware")) >= {
        *("paper-a100", "a100-40gb-sxm", "a100-80gb-sxm", "a100-40gb-pcie", "a100-80gb-pcie", "h100-80gb-sxm"),
        *("h100-80gb-pcie", "h200-sxm", "b200-sxm", "gb200", "l40s", "rtx-4090", "rtx-pro-6000", "mi300x", "mi325x"),
        "tpu-v5e",
    }
    assert set(names("host")) >= {"ddr4-3200-8ch", "ddr5-4800-8ch", "ddr5-4800-12ch", "grace"}


# What holds for every profile


def test_a_profile_is_called_as_its_file(profile: HardwareFile) -> None:
    assert find("hardware", profile.name).stem == profile.name


def test_a_profile_loads_into_a_hashable_machine(profile: HardwareFile) -> None:
    loaded = machine(profile.name)
    assert loaded == load_hardware(str(find("hardware", profile.name)))
    assert hash(loaded) == hash(load_hardware(profile.name))


def test_visible_memory_is_most_of_the_label(profile: HardwareFile) -> None:
    loaded = machine(profile.name)
    assert 0.92 * loaded.hbm_nominal_bytes <= loaded.hbm_bytes <= loaded.hbm_nominal_bytes


def test_the_label_is_a_round_number_of_binary_gigabytes(profile: HardwareFile) -> None:
    assert profile.name in OWN or (profile.accelerator.hbm_nominal_bytes.value / GIB).is_integer()


def test_a_narrower_format_is_at_least_as_fast(profile: HardwareFile) -> None:
    loaded = machine(profile.name)
    bf16, fp8, fp4 = (loaded.peak_flop_per_s(dtype) for dtype in ("bf16", "fp8", "fp4"))
    int8 = loaded.peak_flop_per_s("int8")
    assert bf16 is not None
    assert fp8 is None or fp8 == pytest.approx(2 * bf16, rel=0.02)
    assert int8 is None or int8 >= 1.9 * bf16
    assert fp4 is None or (fp8 is not None and fp4 == pytest.approx(2 * fp8, rel=0.02))


def test_the_ridge_is_that_of_an_accelerator(profile: HardwareFile) -> None:
    """A slip of a factor of 1000 in a rate, or a peak with structured sparsity, would leave this range."""
    loaded = machine(profile.name)
    least = 10 if profile.name in OWN else 100
    assert least < (loaded.peak_flop_per_s("bf16") or 0) / loaded.hbm_bytes_per_s < 500


def test_links_get_slower_outwards(profile: HardwareFile) -> None:
    loaded = machine(profile.name)
    if loaded.scale_up_bytes_per_s is None:
        assert loaded.scale_up_kind == "free"
    else:
        assert loaded.host_link_bytes_per_s <= loaded.scale_up_bytes_per_s < loaded.hbm_bytes_per_s
    if loaded.host_link_effective_bytes_per_s is not None:
        assert 0.5 * loaded.host_link_bytes_per_s < loaded.host_link_effective_bytes_per_s
        assert loaded.host_link_effective_bytes_per_s <= loaded.host_link_bytes_per_s


def test_the_network_between_domains_is_slower_than_the_link_within(profile: HardwareFile) -> None:
    loaded, scale_out = machine(profile.name), profile.scale_out
    if scale_out is None:
        assert (loaded.scale_out_kind, loaded.scale_out_bytes_per_s, loaded.scale_out_latency_s) == (None,) * 3
        return
    assert loaded.scale_out_kind == scale_out.kind
    assert loaded.scale_out_bytes_per_s == scale_out.bytes_per_s.value < (loaded.scale_up_bytes_per_s or 0) / 2
    assert loaded.scale_out_latency_s is None or 1e-6 < loaded.scale_out_latency_s < 1e-5


def test_every_board_of_eight_has_a_network() -> None:
    known = {name for name in names("hardware") if profile_of(name).scale_out is not None}
    boards = {name for name in names("hardware") if profile_of(name).form.startswith(("SXM", "OAM"))}
    assert known == boards | {"gb200"}


def test_a_descriptor_takes_microseconds_or_is_not_known(profile: HardwareFile) -> None:
    descriptor_s = machine(profile.name).host_link_descriptor_s
    assert (descriptor_s is None) == (profile.host_link.descriptor_s is None)
    assert descriptor_s is None or 1e-7 < descriptor_s < 1e-4


def test_descriptors_were_measured_on_the_h100_only() -> None:
    known = {name: profile_of(name).host_link.descriptor_s for name in names("hardware")}
    assert {name for name, found in known.items() if found is not None} == {"h100-80gb-sxm", "h200-sxm"}
    h200 = known["h200-sxm"]
    assert h200 is not None
    assert h200.source.startswith("assumption")
    assert h200.value == machine("h100-80gb-sxm").host_link_descriptor_s


def test_a_pcie_link_has_the_rate_of_its_generation(profile: HardwareFile) -> None:
    match = re.fullmatch(r"PCIe (\d)\.0 x(\d+)", profile.host_link.kind)
    if match is None:
        assert profile.host_link.kind in ("NVLink-C2C to Grace", "PCIe to the TPU host", "PCIe 4.0 to DDR", "memory")
        return
    expected = PCIE_GT_PER_S[match[1]] * GB * int(match[2]) * (128 / 130) / 8
    assert profile.host_link.bytes_per_s.value == pytest.approx(expected, rel=1e-3)


def test_the_host_link_is_shared_within_the_scale_up_domain(profile: HardwareFile) -> None:
    loaded = machine(profile.name)
    assert 1 <= loaded.host_link_shared_by <= loaded.max_accelerators


def test_renting_costs_something_and_the_day_is_told(profile: HardwareFile) -> None:
    usd_per_hour = machine(profile.name).accelerator_usd_per_s * HOUR_S
    assert usd_per_hour == 0 if profile.name in OWN else 0.5 < usd_per_hour < 20
    assert machine(profile.name).price_date == profile.price.date
    assert profile.price.date >= "2024"


def test_every_number_has_a_source_that_says_something(profile: HardwareFile) -> None:
    values = list(sourced_values(profile))
    assert len(values) >= 11
    for loc, value in values:
        text = profile.sources.get(value.source, value.source)
        assert len(text) >= 10, loc


def test_efficiency_agrees_with_the_figures_in_its_note(profile: HardwareFile) -> None:
    """Each ratio's note or source begins with ``X of Y``; the ratio is X / Y to its digits, and Y is the peak."""
    peak_tflop_per_s = (machine(profile.name).peak_flop_per_s("bf16") or 0) / TFLOP
    ratios = {
        "matmul_ratio": (profile.efficiency.matmul_ratio, peak_tflop_per_s),
        "hbm_ratio": (profile.efficiency.hbm_ratio, machine(profile.name).hbm_bytes_per_s / TB),
    }
    for ratio, peak in ratios.values():
        if ratio is None:
            continue
        match = re.match(r"([\d.]+) of ([\d.]+) T", ratio.note or ratio.source)
        assert match is not None
        assert float(match[2]) == pytest.approx(peak)
        assert ratio.value == pytest.approx(float(match[1]) / float(match[2]), abs=0.006)


# What holds for every host


def test_a_host_is_called_as_its_file(host: HostFile) -> None:
    assert find("host", host.name).stem == host.name


def test_ddr_bandwidth_is_channels_times_width_times_rate(host: HostFile) -> None:
    memory = host.memory
    match = re.fullmatch(r"DDR\d-(\d+)", memory.kind)
    if match is None:
        assert memory.kind in ("LPDDR5X", "of a virtual machine")
        return
    assert memory.bytes_per_s.value == pytest.approx(memory.channels.value * 8 * int(match[1]) * 1e6)


def test_a_host_has_memory_drives_and_prices(host: HostFile) -> None:
    loaded = load_hardware("h100-80gb-sxm", host=host.name)
    assert loaded.host_name == host.name
    assert loaded.host_memory_bytes == host.memory.capacity_bytes.value > (10 if host.name in OWN else 500) * GB
    assert loaded.host_memory_bytes_per_s == host.memory.sockets.value * host.memory.bytes_per_s.value
    assert loaded.nvme_bytes == host.nvme.drives.value * host.nvme.capacity_bytes.value
    assert loaded.nvme_latency_s == (None if host.nvme.latency_s is None else host.nvme.latency_s.value)
    assert loaded.nvme_latency_s is None or 10e-6 < loaded.nvme_latency_s < 1e-3
    assert loaded.nvme_write_bytes_per_s < loaded.nvme_read_bytes_per_s < loaded.host_memory_bytes_per_s
    assert 0 < loaded.disk_usd_per_byte_s < loaded.host_memory_usd_per_byte_s
    assert loaded.energy_usd_per_j * 3.6e6 == pytest.approx(0.12)


def test_every_number_of_a_host_has_a_source_that_says_something(host: HostFile) -> None:
    for loc, value in sourced_values(host):
        assert len(host.sources.get(value.source, value.source)) >= 10, loc


def test_a_host_may_be_silent_about_latency(tmp_path: Path) -> None:
    text = find("host", "grace").read_text()
    silent = re.sub(r"  latency_s:\n(    .*\n)+", "", text)
    assert "latency" not in silent
    (tmp_path / "grace.yaml").write_text(silent)
    assert load_hardware("gb200", host=str(tmp_path / "grace.yaml")).nvme_latency_s is None


def test_another_host_changes_only_the_host() -> None:
    usual, other = load_hardware("h200-sxm"), load_hardware("h200-sxm", host="grace")
    assert other.host_memory_bytes == 960 * GB
    assert other.host_memory_bytes_per_s == 2 * 512 * GB
    assert (usual.hbm_bytes, usual.accelerator_usd_per_s) == (other.hbm_bytes, other.accelerator_usd_per_s)


# Faults, by their words and place


def broken(tmp_path: Path, old: str, new: str, name: str = "h100-80gb-sxm") -> str:
    """A copy of a shipped profile with one passage replaced; says where the copy is."""
    text = find("hardware", name).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def line_of(path: str, passage: str) -> int:
    return next(i for i, line in enumerate(Path(path).read_text().splitlines(), 1) if passage in line)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("value: 3.35 TB/s", "value: 3.35 TB", "accelerator.hbm_bytes_per_s.value", 'did you mean "TB/s"?'),
        ("value: 3.35 TB/s", "value: 3.35", "accelerator.hbm_bytes_per_s.value", "without one; write e.g."),
        ("79.11 GiB", "79.11 GB/s", "accelerator.hbm_bytes.value", 'found "GB/s", which is a rate'),
        ("79.11 GiB", "0 GiB", "accelerator.hbm_bytes.value", "expected a number above 0"),
        ("79.11 GiB", "-1 GiB", "accelerator.hbm_bytes.value", "at least zero"),
        ("79.11 GiB", "81.11 GiB", "accelerator.hbm_bytes", "expected at most the nominal memory"),
        ("50.7 GB/s", "80 GB/s", "host_link.effective_bytes_per_s", "expected at most the datasheet rate"),
        ("value: 0.80,", "value: 1.2,", "efficiency.matmul_ratio.value", "a number of at most 1, found 1.2"),
        ("value: 132,", "value: 13.2,", "accelerator.compute_units.value", "expected a whole number, found 13.2"),
        ("kind: nvlink", "kind: nvlnk", "scale_up.kind", 'did you mean "nvlink"?'),
        ("kind: nvlink", "kind: free", "scale_up.bytes_per_s", "expected no rate beside kind free"),
        ("value: 3.2 us", "value: 3.2 GB/s", "host_link.descriptor_s.value", 'found "GB/s", which is a rate'),
        ("value: 50 GB/s", "value: 50 GB", "scale_out.bytes_per_s.value", 'did you mean "GB/s"?'),
        ("value: 4 us", "value: 4 GB/s", "scale_out.latency_s.value", 'found "GB/s", which is a rate'),
        ('date: "2025-06"', "date: June", "price.date", 'found "June"; write e.g. 2026-08-17'),
        ("{value: 700 W, source: ml-engineering}", "{value: 700 W}", "accelerator.power_w.source", "required"),
        ("    fp8: {", "    fp6: {", "accelerator.peak_flop_per_s.fp6", 'did you mean "fp8"?'),
    ],
)
def test_a_broken_profile_names_field_place_and_remedy(
    tmp_path: Path, old: str, new: str, field: str, words: str
) -> None:
    path = broken(tmp_path, old, new)
    with pytest.raises(SpecError) as caught:
        load_hardware(path)
    (fault,) = caught.value.faults
    assert fault.path == path
    assert fault.field == field
    assert words in fault.message
    assert fault.line is not None
    assert abs(fault.line - line_of(path, new.strip())) <= 1, "the fault is at the changed line, or its block's first"


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    path = broken(tmp_path, "value: 3.35 TB/s", "value: 3.35 TB")
    Path(path).write_text(Path(path).read_text().replace("value: 700 W", "value: 700 GB"))
    with pytest.raises(SpecError) as caught:
        load_hardware(path)
    assert [fault.field for fault in caught.value.faults] == [
        "accelerator.hbm_bytes_per_s.value",
        "accelerator.power_w.value",
    ]


def test_a_rate_is_required_unless_collectives_are_free(tmp_path: Path) -> None:
    path = broken(tmp_path, "kind: free", "kind: nvlink", name="paper-a100")
    with pytest.raises(SpecError, match=r"scale_up\.bytes_per_s: expected a rate beside kind nvlink, found nothing"):
        load_hardware(path)


def test_a_network_is_no_faster_than_the_link(tmp_path: Path) -> None:
    path = broken(tmp_path, "value: 50 GB/s", "value: 500 GB/s")
    with pytest.raises(SpecError, match=r"expected at most the rate of scale_up, .* GB/s against Gb/s") as caught:
        load_hardware(path)
    (fault,) = caught.value.faults
    assert (fault.field, fault.line) == ("scale_out", line_of(path, "scale_out:") + 1)


def test_a_source_that_is_not_listed_is_a_fault(tmp_path: Path) -> None:
    path = broken(tmp_path, "{value: 700 W, source: ml-engineering}", "{value: 700 W, source: ml-enginering}")
    with pytest.raises(SpecError) as caught:
        load_hardware(path)
    (fault,) = caught.value.faults
    assert (fault.field, fault.line) == ("accelerator.power_w.source", line_of(path, "ml-enginering"))
    assert fault.message.endswith('found "ml-enginering"; did you mean "ml-engineering"?')


def test_a_source_that_nothing_cites_is_a_fault(tmp_path: Path) -> None:
    path = broken(tmp_path, "sources:\n", "sources:\n  spare: a page that no value of the file cites\n")
    with pytest.raises(SpecError, match=r"sources\.spare: expected a source that some value cites"):
        load_hardware(path)


def test_an_unknown_host_is_placed_in_the_profile(tmp_path: Path) -> None:
    path = broken(tmp_path, "host: ddr5-4800-8ch", "host: ddr5-4800-9ch")
    with pytest.raises(SpecError) as caught:
        load_hardware(path)
    (fault,) = caught.value.faults
    assert (fault.path, fault.line, fault.field) == (path, line_of(path, "host: ddr5"), "host")
    assert "did you mean" in fault.message


def test_unknown_names_get_the_nearest_known_one() -> None:
    with pytest.raises(SpecError, match='did you mean "h100-80gb-sxm"'):
        load_hardware("h100-80gb-sxn")
    with pytest.raises(SpecError, match='found "graze"; did you mean "grace"'):
        load_hardware("h100-80gb-sxm", host="graze")
