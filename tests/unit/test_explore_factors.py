"""Each number scaled alone, and how outcomes follow it."""

from __future__ import annotations

from dataclasses import fields
from math import log

import pytest
from exploring import POISSON, small

from ctxsim.errors import SpecError
from ctxsim.explore.factors import factors_of
from ctxsim.explore.load import load_of, with_load
from ctxsim.explore.sensitivity import OUTCOMES, sensitivity
from ctxsim.spec.digest import canonical
from ctxsim.spec.scenario import load_scenario

EVERYTHING = {
    "deployment.tensor_parallel": 2, "serving.disk_kv_capacity": "100 GB",
    "workload.document_tokens": {"kind": "lognormal", "mean": 4000, "p95": 9000, "max": 20000},
    "workload.question_tokens": {"kind": "uniform", "min": 20, "max": 80},
    "workload.think_time": {"kind": "exponential", "mean": "5 s"},
}  # fmt: skip


def flat(value, way=""):
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in flat(part, f"{way}.{name}").items()}
    if isinstance(value, list):
        return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{way}.{i}").items()}
    return {way: value}


def numbers(scenario):
    return flat({f.name: canonical(getattr(scenario, f.name)) for f in fields(scenario) if f.compare})


MOVED = {
    "peak_flop_per_s": {"peaks_flop_per_s"},
    "host_link_bytes_per_s": {"host_link_bytes_per_s", "host_link_effective_bytes_per_s"},
    "nvme_bytes_per_s": {"nvme_read_bytes_per_s", "nvme_write_bytes_per_s"},
    "host_kv_capacity_bytes": {"host_kv_capacity"},
    "disk_kv_capacity_bytes": {"disk_kv_capacity"},
    "think_time_s": {"think_time"},
    "load": {"users"},
}


@pytest.mark.parametrize("name", [*factors_of(load_scenario("yi-34b-50k-a100")), "nvme_bytes_per_s"])
def test_a_factor_moves_its_number_and_nothing_else(tmp_path, name):
    scenario = small(tmp_path, EVERYTHING)
    factor = factors_of(scenario)[name]
    scaled = factor.scaled(scenario, 2.0)
    before, after = numbers(scenario), numbers(scaled)
    changed = {key for key in before if before[key] != after[key]}
    assert changed
    wanted = MOVED.get(name, {name})
    assert all(any(word in key for word in wanted) for key in changed)
    assert all(after[key] == pytest.approx(2 * before[key]) for key in changed)
    assert factor.size(scaled) == pytest.approx(2 * factor.size(scenario), rel=0.02)


def test_only_what_a_scenario_has_is_varied(tmp_path):
    plain = set(factors_of(small(tmp_path, POISSON | {"serving.host_kv_capacity": "0 B"})))
    assert plain == {
        "peak_flop_per_s", "hbm_bytes", "hbm_bytes_per_s", "accelerator_usd_per_s", "load", "prompt_tokens",
        "output_tokens",
    }  # fmt: skip
    everything = set(factors_of(small(tmp_path, EVERYTHING)))
    assert {"scale_up_bytes_per_s", "nvme_bytes_per_s", "disk_usd_per_byte_s", "host_link_bytes_per_s"} <= everything
    assert "load" not in factors_of(load_scenario("mooncake-replay"))


def test_a_load_is_users_or_a_rate(tmp_path):
    assert load_of(small(tmp_path)) == 6
    assert load_of(with_load(small(tmp_path), 8.6)) == 9
    assert load_of(with_load(small(tmp_path, POISSON), 8.6)) == 8.6
    with pytest.raises(SpecError, match="expected a load that can be changed, found a recorded trace"):
        load_of(load_scenario("mooncake-replay"))


def by_name(effects, outcome):
    return {effect.factor: effect for effect in effects if effect.outcome == outcome}


def test_elasticities_in_closed_form(tmp_path):
    """Prices: of dollars an hour over sessions an hour. Rates: twice as much of all of them takes half the time."""
    scenario = small(tmp_path, {"workload.users": 3, "serving.host_kv_capacity": "200 GB"})
    effects = sensitivity(scenario)
    usd = by_name(effects, "cost_usd_per_session")
    accelerator = scenario.price.accelerator_usd_per_s
    host = scenario.price.host_memory_usd_per_byte_s * scenario.serving.host_kv_capacity
    # log(y(up) / y(down)) / (2 log 1.25) of a + h with a scaled.

    def share(a, h):
        return log((1.25 * a + h) / (a / 1.25 + h)) / (2 * log(1.25))

    assert usd["accelerator_usd_per_s"].elasticity == pytest.approx(share(accelerator, host))
    assert usd["host_memory_usd_per_byte_s"].elasticity == pytest.approx(share(host, accelerator))
    assert usd["host_kv_capacity_bytes"].elasticity == pytest.approx(share(host, accelerator))
    for outcome in ("prefill_s", "decode_step_s"):
        found = by_name(effects, outcome)
        rates = found["peak_flop_per_s"].elasticity + found["hbm_bytes_per_s"].elasticity
        assert rates == pytest.approx(-1.0, abs=1e-4)
        assert found["accelerator_usd_per_s"].elasticity == 0.0
    assert by_name(effects, "prefill_s")["peak_flop_per_s"].elasticity < -0.99
    assert by_name(effects, "decode_step_s")["hbm_bytes_per_s"].elasticity < -0.99


def test_whole_numbers_are_told_by_what_they_became(tmp_path):
    # 3 users: 2 and 4 at +-1.25; where users bind, sessions per hour are in proportion to them.
    rates = by_name(sensitivity(small(tmp_path, {"workload.users": 3})), "sessions_per_hour_bound")
    assert rates["load"].high / rates["load"].low == pytest.approx(2.0)
    assert rates["load"].elasticity == pytest.approx(1.0)
    alone = by_name(sensitivity(small(tmp_path, {"workload.users": 1}), ratio=1.1), "sessions_per_hour_bound")
    assert alone["load"].elasticity is None
    assert "too small to be changed" in alone["load"].reason


def test_effects_are_sorted_and_ends_that_fail_say_why(tmp_path):
    effects = sensitivity(small(tmp_path, {"serving.num_gpu_blocks_override": 270}))
    for outcome in OUTCOMES["analyze"]:
        sizes = [abs(effect.elasticity or 0.0) for effect in effects if effect.outcome == outcome]
        assert sizes == sorted(sizes, reverse=True)
    document = by_name(effects, "prefill_s")["document_tokens"]
    assert document.elasticity is None
    assert document.high is None
    assert document.low < document.base
    assert document.reason


def test_simulated_effects_have_the_same_draws(tmp_path):
    effects = by_name(
        sensitivity(small(tmp_path, POISSON | {"serving.host_kv_capacity": "0 B"}), by="simulate"),
        "cost_usd_per_session",
    )
    assert effects["accelerator_usd_per_s"].elasticity == pytest.approx(1.0)
    assert effects["hbm_bytes"].elasticity == 0.0


@pytest.mark.parametrize("ratio", [1.0, 0.5, float("nan")])
def test_a_ratio_is_above_one(tmp_path, ratio):
    with pytest.raises(SpecError, match="expected a ratio above 1"):
        sensitivity(small(tmp_path), ratio=ratio)
