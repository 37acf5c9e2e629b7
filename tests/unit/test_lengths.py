"""Lengths in tokens: the mean that is promised is the mean of what would be drawn."""

import math
from statistics import NormalDist, fmean

import pytest
from pydantic import TypeAdapter, ValidationError

from ctxsim.spec.lengths import ExponentialLength, Length, LengthOrZero, LognormalLength, UniformLength

LENGTH = TypeAdapter(Length)
MIDPOINTS = [(i + 0.5) / 50_000 for i in range(50_000)]
"""Shares at which a quantile function is read: the mean over them is the distribution's mean."""


def clipped_mean(quantile, low, high):
    return fmean(min(max(quantile(share), low), high or math.inf) for share in MIDPOINTS)


@pytest.mark.parametrize(("low", "high"), [(1, None), (1, 3000), (500, None), (500, 1500)])
def test_the_exponential_mean_is_that_of_the_clipped_draws(low, high):
    length = ExponentialLength(kind="exponential", mean=1000, min=low, max=high)
    mean = clipped_mean(lambda share: -1000 * math.log1p(-share), low, high)
    assert length.mean_tokens == pytest.approx(mean, rel=2e-4)


@pytest.mark.parametrize(("low", "high"), [(1, None), (1, 3000), (500, None), (500, 1500)])
def test_the_lognormal_mean_is_that_of_the_clipped_draws(low, high):
    length = LognormalLength(kind="lognormal", mean=1000, p95=2500, min=low, max=high)
    normal = NormalDist(length.mu, length.sigma)
    mean = clipped_mean(lambda share: math.exp(normal.inv_cdf(share)), low, high)
    assert length.mean_tokens == pytest.approx(mean, rel=2e-4)


def test_the_lognormal_has_the_mean_and_quantile_it_was_given():
    length = LognormalLength(kind="lognormal", mean=1000, p95=2500)
    assert math.exp(length.mu + length.sigma**2 / 2) == pytest.approx(1000)
    assert math.exp(NormalDist(length.mu, length.sigma).inv_cdf(0.95)) == pytest.approx(2500)


def test_a_bare_number_is_a_constant_and_a_uniform_has_the_middle_as_its_mean():
    assert LENGTH.validate_python(50_000).mean_tokens == 50_000
    assert UniformLength(kind="uniform", min=1, max=4).mean_tokens == 2.5


def test_zero_is_a_length_only_where_it_may_be():
    assert TypeAdapter(LengthOrZero).validate_python(0).mean_tokens == 0
    with pytest.raises(ValidationError, match="expected at least 1 token, found 0"):
        LENGTH.validate_python(0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "uniform", "min": 5, "max": 4}, "expected at least min .5., found 4; swap them or raise max"),
        (
            {"kind": "lognormal", "mean": 1000, "p95": 3900},
            "expected a 95 % quantile above the mean .1000. and at most 3.868 times it .3868.13., found 3900",
        ),
        ({"kind": "lognormal", "mean": 1000, "p95": 1000}, "expected a 95 % quantile above the mean"),
        (True, "expected a number of tokens or a mapping with a kind, found true; write e.g. 50000"),
        ("50000", 'expected a number of tokens or a mapping with a kind, found "50000"; write e.g. 50000'),
    ],
)
def test_a_length_that_cannot_be_drawn_is_refused(value, message):
    with pytest.raises(ValidationError, match=message):
        LENGTH.validate_python(value)
