"""How long a run lasts and where an arrival joins, against adding up iterations one by one."""

from __future__ import annotations

from math import inf, nextafter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ctxsim.sim.jump import iterations_until, run_s

firsts = st.floats(1e-6, 1e3)
growths = st.one_of(st.just(0.0), st.floats(1e-12, 10.0))


def added_up(iterations: int, first_s: float, growth_s: float) -> float:
    return sum(first_s + k * growth_s for k in range(iterations))


@given(st.integers(0, 300), firsts, growths)
def test_a_run_lasts_the_sum_of_its_iterations(iterations: int, first_s: float, growth_s: float) -> None:
    assert run_s(iterations, first_s, growth_s) == pytest.approx(added_up(iterations, first_s, growth_s), rel=1e-12)


@given(st.integers(1, 200), st.floats(0.0, 1.0, exclude_min=True), firsts, growths)
def test_an_arrival_joins_at_the_next_boundary(within: int, share: float, first_s: float, growth_s: float) -> None:
    """An arrival inside the n-th iteration waits for the end of that iteration: found by walking over them."""
    elapsed_s = added_up(within - 1, first_s, growth_s) + share * (first_s + (within - 1) * growth_s)
    boundary, n = first_s, 1
    while boundary < elapsed_s:
        boundary += first_s + n * growth_s
        n += 1
    # Too near to a boundary the two sums may differ in their last bits.
    assume(abs(run_s(n, first_s, growth_s) - elapsed_s) > 1e-9 * elapsed_s)
    assume(n == 1 or abs(run_s(n - 1, first_s, growth_s) - elapsed_s) > 1e-9 * elapsed_s)
    assert iterations_until(elapsed_s, first_s, growth_s) == n


@given(st.floats(-1e3, 1e12), st.floats(1e-6, 1e6), st.floats(0.0, 1e6))
def test_the_number_is_the_least_one(elapsed_s: float, first_s: float, growth_s: float) -> None:
    """Also where times are huge and the root would cancel."""
    assume(elapsed_s / first_s < 1e15)
    n = iterations_until(elapsed_s, first_s, growth_s)
    assert n >= 1
    assert run_s(n, first_s, growth_s) >= elapsed_s
    assert n == 1 or run_s(n - 1, first_s, growth_s) < elapsed_s


@given(st.integers(1, 10**7), firsts, growths)
def test_a_hair_after_a_boundary_is_the_next_one(n: int, first_s: float, growth_s: float) -> None:
    """To the last bit, where the root alone is off by one."""
    boundary_s = run_s(n, first_s, growth_s)
    assert run_s(n - 1, first_s, growth_s) < boundary_s < run_s(n + 1, first_s, growth_s)
    assert iterations_until(boundary_s, first_s, growth_s) == n
    assert iterations_until(nextafter(boundary_s, inf), first_s, growth_s) == n + 1


@pytest.mark.parametrize(
    ("elapsed_s", "first_s", "growth_s", "n"),
    [
        (-5.0, 1.0, 0.0, 1),  # in the past: the first boundary
        (0.0, 1.0, 3.0, 1),
        (1.0, 1.0, 0.0, 1),  # at a boundary
        (1.0000001, 1.0, 0.0, 2),
        (3.0, 1.0, 1.0, 2),  # 1 + 2
        (3.1, 1.0, 1.0, 3),
        (500_000.0, 0.25, 0.0, 2_000_000),
        (1e9, 1e-3, 1e-30, 10**12),  # growth that is lost in the first iteration
        (5e11, 1e-9, 1.0, 10**6 + 1),  # growth that is all there is: n (n - 1) / 2 is 499,999,500,000 at a million
    ],
)
def test_boundaries(elapsed_s: float, first_s: float, growth_s: float, n: int) -> None:
    assert iterations_until(elapsed_s, first_s, growth_s) == n
