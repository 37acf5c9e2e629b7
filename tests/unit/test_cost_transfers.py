"""The host link: roots shared by several accelerators, capped by host memory; seconds and set-up of a transfer."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from cost_scenarios import scenario

from ctxsim.cost import transfer_s
from ctxsim.cost.host_link import way
from ctxsim.cost.topology import DISK, HBM, HOST, Fabric
from ctxsim.cost.transfers import CopySetup, host_link_bytes_per_s
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.hardware_file import read_profile
from ctxsim.spec.scenario import Scenario, load_scenario


def served(ranks: int, shared_by: int, link: float, host: float) -> Scenario:
    base = scenario("paper-34b", "paper-a100", deployment__tensor_parallel=ranks)
    hardware = replace(
        base.hardware,
        host_link_shared_by=shared_by,
        host_link_bytes_per_s=link,
        host_memory_bytes_per_s=host,
    )
    return replace(base, hardware=hardware)


@pytest.mark.parametrize(
    ("ranks", "shared_by", "roots"),
    [(1, 1, 1), (2, 1, 2), (8, 1, 8), (1, 2, 1), (2, 2, 1), (4, 2, 2), (8, 2, 4), (8, 8, 1), (1, 8, 1)],
)
def test_a_group_drives_every_root_it_touches(ranks: int, shared_by: int, roots: int) -> None:
    assert host_link_bytes_per_s(served(ranks, shared_by, 25e9, 1e12)) == roots * 25e9


@pytest.mark.parametrize(("ranks", "shared_by", "roots"), [(4, 3, 4 / 3), (3, 2, 3 / 2), (5, 4, 5 / 4), (8, 3, 8 / 3)])
def test_the_root_with_the_most_ranks_sets_the_rate(ranks: int, shared_by: int, roots: float) -> None:
    """Every rank copies as much, so a root with fewer ranks is done sooner and waits."""
    assert host_link_bytes_per_s(served(ranks, shared_by, 25e9, 1e12)) == pytest.approx(roots * 25e9, rel=1e-15)


def test_a_group_over_two_nodes_has_both_host_memories() -> None:
    split = served(16, 1, 25e9, 150e9)
    assert split.deployment.accelerators_per_node == 8
    assert host_link_bytes_per_s(split) == 300e9


def test_host_memory_is_the_last_limit() -> None:
    assert host_link_bytes_per_s(served(8, 1, 25e9, 150e9)) == 150e9
    assert host_link_bytes_per_s(served(4, 1, 25e9, 150e9)) == 100e9


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_the_paper_s_group_shares_one_link(ranks: int) -> None:
    assert host_link_bytes_per_s(scenario("paper-34b", "paper-a100", deployment__tensor_parallel=ranks)) == 20e9


def test_real_profiles_by_hand() -> None:
    """H100: one PCIe 5 x16 link each; two Blackwells share one Grace."""
    h100 = scenario("paper-34b", "h100-80gb-sxm", deployment__tensor_parallel=2)
    expected = min(2 * h100.hardware.host_link_bytes_per_s, h100.hardware.host_memory_bytes_per_s)
    assert h100.hardware.host_link_shared_by == 1
    assert host_link_bytes_per_s(h100) == expected
    grace = [scenario("paper-34b", "gb200", deployment__tensor_parallel=g) for g in (1, 2, 4)]
    memory = grace[0].hardware.host_memory_bytes_per_s
    assert [host_link_bytes_per_s(s) for s in grace] == [min(n * 450e9, memory) for n in (1, 1, 2)]


def test_links_as_an_array() -> None:
    links = np.array([10e9, 60e9, 200e9])
    found = host_link_bytes_per_s(served(4, 2, 1.0, 150e9), links, np.minimum)
    assert found.tolist() == [20e9, 120e9, 150e9]


def test_seconds_are_bytes_over_rate() -> None:
    assert transfer_s(24_576_000_000, 20e9) == 1.2288


# What comes before the bytes flow


@pytest.mark.parametrize(
    ("model", "layers"),
    [("paper-34b", 60), ("llama-3.1-8b", 32), ("gpt-oss-120b", 36), ("qwen3-next-80b-a3b", 12), ("deepseek-v3", 61)],
)
def test_a_block_is_copied_layer_by_layer(model: str, layers: int) -> None:
    """Layers with a constant state keep no KV: Qwen3-Next has 12 attention layers among 48."""
    assert CopySetup(scenario(model)).descriptors(1) == layers
    assert CopySetup(scenario(model)).descriptors(50) == 50 * layers
    assert CopySetup(scenario(model, serving__copy_descriptors_per_block=2)).descriptors(50) == 100


def test_descriptors_cost_nothing_unless_the_scenario_says_so() -> None:
    """Even on a machine whose descriptors were measured: peak is the datasheet."""
    peak = scenario(hardware="h100-80gb-sxm")
    assert peak.hardware.host_link_descriptor_s == pytest.approx(3.2e-6)
    assert CopySetup(peak).seconds(HBM, 1000) == CopySetup(peak).seconds(HOST, 1000) == 0.0


def test_set_up_is_latency_and_descriptors() -> None:
    given = scenario(serving__copy_descriptor_overhead="3 us")
    assert CopySetup(given).seconds(HBM, 100) == CopySetup(given).seconds(HOST, 100) == pytest.approx(100 * 60 * 3e-6)
    assert CopySetup(given).seconds(DISK, 100) == pytest.approx(100e-6 + 100 * 60 * 3e-6)
    assert CopySetup(given).seconds(HOST, 0) == 0.0
    merged = scenario(serving__copy_descriptor_overhead="3 us", serving__copy_descriptors_per_block=1)
    assert CopySetup(merged).seconds(HBM, 100) == pytest.approx(300e-6)


def test_ranks_set_up_at_the_same_time() -> None:
    alone, group = (
        scenario(serving__copy_descriptor_overhead="3 us", deployment__tensor_parallel=ranks) for ranks in (1, 4)
    )
    assert CopySetup(alone).seconds(HBM, 7) == CopySetup(group).seconds(HBM, 7)


def test_a_host_that_gives_no_latency_has_none() -> None:
    base = scenario()
    silent = replace(base, hardware=replace(base.hardware, nvme_latency_s=None))
    assert CopySetup(silent).seconds(DISK, 10) == 0.0


# Measured: physics.md section 4, vLLM and IBM on an H100, 1000 blocks from GPU to CPU by copy engine.
BLOCK_BYTES = np.array([16, 64, 256, 1024, 4096, 16384]) * 1024.0
BYTES_PER_S = np.array([4.6, 15.3, 29.2, 42.5, 48.7, 50.7]) * 1e9


def test_the_h100_s_descriptor_is_the_fit_to_the_measured_blocks() -> None:
    """time = c + bytes / rate by least squares in relative error; residuals as in the profile's note."""
    measured_s = BLOCK_BYTES / BYTES_PER_S
    relative = np.column_stack([1 / measured_s, BLOCK_BYTES / measured_s])
    (descriptor_s, s_per_byte), *_ = np.linalg.lstsq(relative, np.ones(len(measured_s)), rcond=None)
    profile = read_profile("h100-80gb-sxm")[0].host_link.descriptor_s
    assert profile is not None
    assert profile.value == pytest.approx(descriptor_s, rel=0.01)
    assert 1 / s_per_byte == pytest.approx(49.9e9, rel=1e-3)
    residuals = relative @ [descriptor_s, s_per_byte] - 1
    written = re.search(r"off by (.*) and (.*) %", profile.note)
    assert written is not None
    assert [float(r) for r in (*written[1].split(", "), written[2])] == pytest.approx(residuals * 100, abs=0.06)


# Fitted: a calibration's own copies go before what the profile says of its link

COPIES = {
    "to_host": {"start_s": 1e-5, "descriptor_s": 2e-6, "ratio": 0.5},
    "to_device": {"start_s": 3e-5, "descriptor_s": 4e-6, "ratio": 0.8},
    "to_host-beside-gemm": {"start_s": 2e-5, "descriptor_s": 2e-6, "ratio": 0.25},
}


def fitted(**serving: object) -> Scenario:
    base = scenario(hardware="h100-80gb-sxm", **serving)
    fits = tuple(Fit("copy", name, tuple(c.items()), (), 0.1, 0.0) for name, c in COPIES.items())
    return replace(base, fidelity="calibrated", calibration=Calibration("made-up", "h100-80gb-sxm", fits))


def test_each_way_has_the_rate_that_was_fitted() -> None:
    link = fitted().hardware.host_link_bytes_per_s
    assert (way(fitted(), "to_host").bytes_per_s, way(fitted(), "to_device").bytes_per_s) == (0.5 * link, 0.8 * link)
    fabric = Fabric.of(fitted())
    assert fabric.lone_bytes_per_s(0, HBM, HOST) == 0.5 * link
    assert fabric.lone_bytes_per_s(0, HOST, HBM) == 0.8 * link
    assert host_link_bytes_per_s(fitted()) == 0.5 * link, "the slower way"


def test_set_up_is_that_of_the_way() -> None:
    setup = CopySetup(fitted(serving__copy_descriptors_per_copy=60))
    assert setup.seconds(HBM, 1000) == pytest.approx(1e-5 + 60 * 2e-6)
    assert setup.seconds(HOST, 1000) == pytest.approx(3e-5 + 60 * 4e-6)
    by_block = CopySetup(fitted())
    assert by_block.seconds(HBM, 10) == pytest.approx(1e-5 + 600 * 2e-6)


def test_what_the_scenario_says_of_descriptors_goes_before() -> None:
    setup = CopySetup(fitted(serving__copy_descriptor_overhead="7 us"))
    assert setup.seconds(HBM, 10) == pytest.approx(1e-5 + 600 * 7e-6)


def test_beside_work_a_copy_takes_what_it_was_measured_to_take_beside_it() -> None:
    """1 GB out at a quarter of the link instead of half of it; the other way was not measured beside anything."""
    setup, link = CopySetup(fitted(serving__copy_descriptors_per_copy=60)), fitted().hardware.host_link_bytes_per_s
    flow_s = 1e9 / (0.5 * link)
    assert setup.seconds(HBM, 10, 1e9) + flow_s == pytest.approx(2e-5 + 60 * 2e-6 + 1e9 / (0.25 * link))
    assert setup.seconds(HOST, 10, 1e9) == setup.seconds(HOST, 10)


def test_a_copy_s_pieces_are_counted_one_way_only() -> None:
    assert CopySetup(scenario(serving__copy_descriptors_per_copy=7)).descriptors(500) == 7
    assert CopySetup(scenario(serving__copy_descriptors_per_copy=7)).descriptors(0) == 0
    with pytest.raises(SpecError, match="copy_descriptors_per_copy: expected copy_descriptors_per_block or this"):
        load_scenario(
            "llama-8b-chat", {"serving.copy_descriptors_per_copy": 7, "serving.copy_descriptors_per_block": 2}
        )
