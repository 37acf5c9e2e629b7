"""Replications: Student's t, means and intervals, seeds, and runs in this process and in others."""

from __future__ import annotations

import math
import os
from functools import partial
from math import gamma, pi, sqrt
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from command_line import REQUESTS

import ctxsim as cs
from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.metrics import half_widths, means, student_t_quantile
from ctxsim.sim import Simulation, simulate
from ctxsim.sim.replications import replicate, replication_seeds, reseeded
from ctxsim.spec.scenario import Scenario

# Two-sided probability, degrees of freedom, quantile: NIST/SEMATECH e-Handbook of Statistical Methods, section
# 1.3.6.7.2 (three decimals); more digits for one and two degrees from the closed forms tan(pi c / 2) and
# c sqrt(2 / (1 - c^2)).
TABLE = [
    (0.80, 1, 3.078), (0.90, 1, 6.314), (0.95, 1, 12.706), (0.98, 1, 31.821), (0.99, 1, 63.657), (0.998, 1, 318.309),
    (0.95, 2, 4.303), (0.95, 3, 3.182), (0.95, 4, 2.776), (0.99, 4, 4.604), (0.95, 5, 2.571), (0.90, 6, 1.943),
    (0.95, 9, 2.262), (0.99, 9, 3.250), (0.95, 10, 2.228), (0.95, 19, 2.093), (0.95, 29, 2.045), (0.998, 29, 3.396),
    (0.95, 30, 2.042), (0.90, 60, 1.671), (0.95, 100, 1.984), (0.99, 100, 2.626),
]  # fmt: skip


LONG_TAIL = "{kind: lognormal, mean: 2048, p95: 6000}"


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """A scenario of ten requests."""
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    return cs.load(path)


@pytest.mark.parametrize(("confidence", "degrees", "quantile"), TABLE)
def test_students_t_against_its_table(confidence: float, degrees: int, quantile: float) -> None:
    assert student_t_quantile(confidence, degrees) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.9, 0.95, 0.99, 0.9999])
def test_students_t_in_closed_form(confidence: float) -> None:
    """One degree is the Cauchy distribution; of two and four the distribution can be turned round by hand."""
    assert student_t_quantile(confidence, 1) == pytest.approx(math.tan(pi * confidence / 2), rel=1e-9)
    assert student_t_quantile(confidence, 2) == pytest.approx(confidence * sqrt(2 / (1 - confidence**2)), rel=1e-9)
    alpha = 1 - confidence**2
    four = 2 * sqrt(math.cos(math.acos(sqrt(alpha)) / 3) / sqrt(alpha) - 1)
    assert student_t_quantile(confidence, 4) == pytest.approx(four, rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 7, 12, 25, 60, 99])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_students_t_holds_its_probability(confidence: float, degrees: int) -> None:
    """The density, integrated by Simpson's rule from -t to t, to 1e-6 of the quantile."""
    quantile = student_t_quantile(confidence, degrees)
    factor = gamma((degrees + 1) / 2) / (sqrt(degrees * pi) * gamma(degrees / 2))
    angles = np.linspace(0.0, math.atan(quantile / sqrt(degrees)), 20_001)
    # t = sqrt(degrees) tan(angle): the density times dt is smooth in the angle, tails and all.
    density = factor * sqrt(degrees) * np.cos(angles) ** (degrees - 1)
    weights = np.tile([2.0, 4.0], 10_001)[:20_001]
    weights[[0, -1]] = 1.0
    within = 2 * float(np.sum(weights * density)) * angles[1] / 3
    slope = 2 * factor * (1 + quantile**2 / degrees) ** (-(degrees + 1) / 2)
    assert abs(within - confidence) / slope < 1e-6 * quantile


def test_students_t_of_many_degrees_is_normal() -> None:
    assert student_t_quantile(0.95, 100_000) == pytest.approx(1.959964, abs=5e-5)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95.0])
def test_a_confidence_lies_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_t_quantile(confidence, 5)


def test_means_and_half_widths_by_hand() -> None:
    """1, 2, 3: mean 2, deviation 1, t(95 %, 2) = 4.302653, so 2 +- 2.484138."""
    summaries = [{"duration_s": x, "ttft_s": {"p50": 10 * x}, "num_requests": 7} for x in (1.0, 2.0, 3.0)]
    assert means(summaries) == {"duration_s": 2.0, "ttft_s": {"p50": 20.0}, "num_requests": 7}
    found = half_widths(summaries, 0.95)
    assert found["duration_s"] == pytest.approx(2.484138, abs=1e-6)
    assert found["ttft_s"]["p50"] == pytest.approx(24.84138, abs=1e-5)
    assert found["num_requests"] == 0


def test_what_is_the_same_stays_as_it_is() -> None:
    """Not even rounded: the mean of three times 0.1 is 0.1; and a whole number stays one."""
    found = means([{"a": 0.1, "b": 3, "c": None, "d": True}] * 3)
    assert found == {"a": 0.1, "b": 3, "c": None, "d": True}
    assert isinstance(found["b"], int)
    assert half_widths([{"a": 0.1, "b": 3, "c": None, "d": True}] * 3, 0.95) == {"a": 0, "b": 0, "c": None, "d": None}


def test_what_one_replication_lacks_has_no_mean() -> None:
    summaries = [{"tpot_s": 1.0, "too_short": False}, {"tpot_s": None, "too_short": True}]
    assert means(summaries) == {"tpot_s": None, "too_short": True}
    assert half_widths(summaries, 0.95) == {"tpot_s": None, "too_short": None}


def test_one_replication_has_no_interval() -> None:
    assert half_widths([{"a": 1.0, "b": {"c": 2}}], 0.95) == {"a": None, "b": {"c": None}}


def mean_sojourns(rng: np.random.Generator, queues: int, number: int, load: float) -> np.ndarray:
    """The mean sojourn in each of many M/M/1 queues of mean service 1, which begin as full as they are in the end."""
    waits_s = np.where(rng.random(queues) < load, rng.exponential(1 / (1 - load), queues), 0.0)
    total_s = np.zeros(queues)
    for _ in range(number):
        service_s = rng.exponential(1.0, queues)
        total_s += waits_s + service_s
        waits_s = np.maximum(0.0, waits_s + service_s - rng.exponential(1 / load, queues))
    return total_s / number


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """M/M/1 at load 0.5, mean sojourn 1 / (1 - 0.5) = 2: of 2,000 intervals from ten replications each 95 % have it.

    The band is four deviations of that count wide to both sides, 1.95 %, plus 1 % since means of 400 sojourns are not
    quite normal.
    """
    sojourns_s = mean_sojourns(np.random.default_rng(11), 20_000, 400, 0.5).reshape(2000, 10)
    covered = 0
    for sample in sojourns_s:
        summaries = [{"sojourn_s": float(x)} for x in sample]
        off = abs(means(summaries)["sojourn_s"] - 2.0)
        covered += off <= half_widths(summaries, 0.95)["sojourn_s"]
    assert 0.95 - 0.0295 <= covered / 2000 <= 0.95 + 0.0195


def test_seeds_begin_with_the_scenarios_and_do_not_depend_on_their_number() -> None:
    seeds = replication_seeds(7, 50)
    assert seeds[0] == 7
    assert replication_seeds(7, 10) == seeds[:10]
    assert replication_seeds(7, 1) == (7,)
    assert len(set(seeds)) == 50
    assert len(set(seeds[1:]) & set(replication_seeds(8, 50)[1:])) == 0
    assert all(0 <= seed < 2**53 for seed in seeds)


def test_seeds_are_what_they_always_were() -> None:
    """Part of what a seed means: results of replications must not change with a version."""
    assert replication_seeds(0, 3) == (0, 8712918666607246, 7572836432069980)


def test_arrivals_of_replications_are_independent(scenario: Scenario) -> None:
    """Gaps between arrivals in one replication tell nothing of those in another: correlations of noise only."""
    seeds = replication_seeds(0, 8)
    gaps_s = [np.diff(simulate(reseeded(scenario, seed)).requests["arrival_s"]) for seed in seeds]
    assert len({tuple(g) for g in gaps_s}) == 8
    correlations = np.corrcoef(gaps_s)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 0.95
    assert abs(correlations.mean()) < 4 / sqrt(28 * 9)


def seed_of(number: int, simulation: Simulation) -> tuple[int, int, int]:
    """Number and seed of a replication, and the process it ran in."""
    return number, simulation.scenario.run.seed, os.getpid()


def test_each_replication_is_handed_over_in_order(scenario: Scenario) -> None:
    told: list[int] = []
    found = replicate(scenario, 3, seed_of, progress=told.append)
    assert found == [(i, seed, os.getpid()) for i, seed in enumerate(replication_seeds(0, 3))]
    assert told == list(range(1, 31)), "finished requests of all three"


def test_workers_are_other_processes_and_give_the_same(scenario: Scenario) -> None:
    told: list[int] = []
    found = replicate(scenario, 3, seed_of, workers=2, progress=told.append)
    assert [one[:2] for one in found] == [one[:2] for one in replicate(scenario, 3, seed_of)]
    assert os.getpid() not in {process for _, _, process in found}
    assert told == [10, 20, 30]


def rows_in(spool: Path, number: int, simulation: Simulation) -> int:
    """How many folders for rows there are while a replication is handed over."""
    assert len(simulation.requests["ttft_s"]) == 10
    return len(list(spool.rglob(".rows-*")))


def test_rows_lie_in_a_folder_of_their_own_for_as_long_as_they_are_needed(scenario: Scenario, tmp_path: Path) -> None:
    place = tmp_path / "rows"
    place.mkdir()
    assert replicate(scenario, 2, partial(rows_in, place), spool=place) == [2, 2], "one of all, one of its own"
    assert list(place.iterdir()) == []


def fail(number: int, _: Simulation) -> None:
    """A task that cannot be done."""
    raise OSError(28, f"No space left for {number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_fails_ends_all(scenario: Scenario, tmp_path: Path, workers: int) -> None:
    place = tmp_path / "rows"
    place.mkdir()
    with pytest.raises(OSError, match="No space left for"):
        replicate(scenario, 50, fail, workers=workers, spool=place)
    assert list(place.iterdir()) == []
    assert not active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_served_is_said_once(workers: int) -> None:
    with pytest.raises(InfeasibleError, match="the shortest request"):
        replicate(cs.load("paper-34b-1m"), 3, seed_of, workers=workers)


def test_replications_in_python(scenario: Scenario, tmp_path: Path) -> None:
    runs = [cs.simulate(scenario, seed=seed) for seed in replication_seeds(3, 4)]
    found = cs.simulate(scenario, seed=3, replications=4, out=tmp_path / "out")
    replications = found.replications
    assert replications is not None
    assert replications["seeds"] == list(replication_seeds(3, 4))
    assert found.summary["duration_s"] == pytest.approx(np.mean([run.summary["duration_s"] for run in runs]))
    assert repr(found).startswith("<means of 4 replications: 10 of 10 requests completed in ")
    assert "<th>num_requests</th><td>10</td>" in found._repr_html_()
    assert " \u00b1 " in found._repr_html_()
    loaded = cs.load_result(tmp_path / "out")
    assert loaded.summary == found.summary
    with pytest.raises(SpecError, match="means of replications, which have no rows; load one of them"):
        _ = loaded.requests
    last = cs.load_result(tmp_path / "out" / "replication-003")
    assert last.requests.equals(runs[3].requests)
    assert last.scenario_sha256 == runs[3].scenario_sha256


def test_warnings_of_replications_are_said_once(scenario: Scenario) -> None:
    """With how many they come from, where that is not all."""
    found = cs.simulate(cs.load("mooncake-replay"), replications=2).warnings
    assert len(set(found)) == len(found)
    assert found[-1].startswith("replications: all 2 runs are the same")
    some = cs.load(scenario.path, {"workload.prompt_tokens": LONG_TAIL, "serving.max_model_len": 8000})
    rejecting = [w for w in cs.simulate(some, replications=5).warnings if "were rejected" in w]
    assert rejecting
    assert all(w.endswith("of 5 replications)") for w in rejecting)


@pytest.mark.parametrize(
    ("numbers", "field"),
    [({"replications": 0}, "replications"), ({"replications": 2, "workers": 0}, "workers"),
     ({"replications": 2, "confidence": 95}, "confidence"), ({"workers": 2}, "workers")],
)  # fmt: skip
def test_numbers_that_make_no_sense(scenario: Scenario, numbers: dict[str, int], field: str) -> None:
    with pytest.raises(SpecError, match=f"^{field}: expected") as error:
        cs.simulate(scenario, **numbers)  # type: ignore[arg-type]
    assert "found" in str(error.value)
