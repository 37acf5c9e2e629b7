"""The host link: roots shared by several accelerators, capped by host memory, and seconds of a transfer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cost_scenarios import scenario

from ctxsim.cost import transfer_s
from ctxsim.cost.transfers import host_link_bytes_per_s
from ctxsim.spec.scenario import Scenario


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
    [(1, 1, 1), (2, 1, 2), (8, 1, 8), (1, 2, 1), (2, 2, 1), (4, 2, 2), (8, 2, 4), (4, 3, 2), (8, 8, 1), (1, 8, 1)],
)
def test_a_group_drives_every_root_it_touches(ranks: int, shared_by: int, roots: int) -> None:
    assert host_link_bytes_per_s(served(ranks, shared_by, 25e9, 1e12)) == roots * 25e9


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
