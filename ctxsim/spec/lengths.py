"""How many tokens a prompt, question or answer has: a fixed number or a distribution, clipped to [min, max]."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from ctxsim.spec.validation import FieldError, Spec, kind_tag, shown

Z95 = 1.6448536269514722
"""The 95 % quantile of the standard normal distribution."""

MAX_TOKENS = 10**9
"""The longest length that is accepted: far above any context window, small enough for 64-bit sums."""

PositiveTokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
MeanTokens = Annotated[float, Field(gt=0, le=MAX_TOKENS)]


class ConstantLength(Spec):
    """The same number of tokens every time; a bare number in a file means this."""

    kind: Literal["constant"] = "constant"
    tokens: Tokens

    @property
    def mean_tokens(self) -> float:
        """The number of tokens."""
        return float(self.tokens)

    @property
    def max_tokens(self) -> int | None:
        """The number of tokens."""
        return self.tokens


class UniformLength(Spec):
    """Each whole number from ``min`` to ``max``, both included, equally likely."""

    kind: Literal["uniform"]
    min: PositiveTokens
    max: PositiveTokens

    @model_validator(mode="after")
    def _ordered(self) -> UniformLength:
        _check_order(self.min, self.max)
        return self

    @property
    def mean_tokens(self) -> float:
        """The middle of the range."""
        return (self.min + self.max) / 2

    @property
    def max_tokens(self) -> int | None:
        """The longest that is drawn."""
        return self.max


class _Clipped(Spec):
    """A continuous distribution that is clipped to [min, max] and then rounded to whole tokens."""

    mean: MeanTokens
    min: PositiveTokens = 1
    max: PositiveTokens | None = None

    @property
    def max_tokens(self) -> int | None:
        """The longest that is drawn; None where there is no limit."""
        return self.max

    @property
    def mean_tokens(self) -> float:
        """The mean after clipping (rounding to whole tokens is left out: it moves the mean by under half a token)."""
        below_max = math.inf if self.max is None else self.max
        upper = 0.0 if self.max is None else self.max * (1 - self._cdf(self.max))
        inside = self._partial_mean(below_max) - self._partial_mean(self.min)
        return self.min * self._cdf(self.min) + inside + upper

    def _cdf(self, tokens: float) -> float:
        """The share of draws at or below the length, before clipping."""
        raise NotImplementedError

    def _partial_mean(self, tokens: float) -> float:
        """E[X; X <= tokens] before clipping."""
        raise NotImplementedError


class ExponentialLength(_Clipped):
    """Exponential with the given mean (before clipping)."""

    kind: Literal["exponential"]

    @model_validator(mode="after")
    def _ordered(self) -> ExponentialLength:
        _check_order(self.min, self.max)
        return self

    def _cdf(self, tokens: float) -> float:
        return -math.expm1(-tokens / self.mean)

    def _partial_mean(self, tokens: float) -> float:
        if math.isinf(tokens):
            return self.mean
        return self.mean - (tokens + self.mean) * math.exp(-tokens / self.mean)


class LognormalLength(_Clipped):
    """Lognormal with the given mean and 95 % quantile (both before clipping).

    The logarithm has mean ``mu`` and deviation ``sigma`` from mean = exp(mu + sigma**2 / 2) and
    p95 = exp(mu + Z95 sigma); of the two solutions the less spread one is meant. There is none where p95 is
    above exp(Z95**2 / 2) = 3.868 means.
    """

    kind: Literal["lognormal"]
    p95: MeanTokens

    @model_validator(mode="after")
    def _solvable(self) -> LognormalLength:
        _check_order(self.min, self.max)
        check_lognormal(self.mean, self.p95)
        return self

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return lognormal_sigma(self.mean, self.p95)

    @property
    def mu(self) -> float:
        """Mean of the logarithm."""
        return math.log(self.mean) - self.sigma**2 / 2

    def _cdf(self, tokens: float) -> float:
        return _normal_cdf((math.log(tokens) - self.mu) / self.sigma)

    def _partial_mean(self, tokens: float) -> float:
        if math.isinf(tokens):
            return self.mean
        return self.mean * _normal_cdf((math.log(tokens) - self.mu) / self.sigma - self.sigma)


def lognormal_sigma(mean: float, p95: float) -> float:
    """The deviation of the logarithm of a lognormal with that mean and 95 % quantile (the smaller solution)."""
    return Z95 - math.sqrt(max(Z95**2 - 2 * math.log(p95 / mean), 0.0))


def check_lognormal(mean: float, p95: float) -> None:
    """Raises FieldError where no lognormal has that mean and 95 % quantile."""
    most = mean * math.exp(Z95**2 / 2)
    if not mean < p95 <= most:
        wanted = f"a 95 % quantile above the mean ({mean:g}) and at most 3.868 times it ({most:.6g})"
        raise FieldError("p95", f"expected {wanted}, found {p95:g}; change p95 or mean")


def _normal_cdf(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _check_order(low: int, high: int | None) -> None:
    if high is not None and high < low:
        raise FieldError("max", f"expected at least min ({low}), found {high}; swap them or raise max")


def _number_is_constant(value: object) -> object:
    """A bare number as the constant it stands for; what can be no length at all is refused here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"kind": "constant", "tokens": value}
    if isinstance(value, dict | Spec):
        return value
    raise ValueError(f"expected a number of tokens or a mapping with a kind, found {shown(value)}; write e.g. 50000")


def _at_least_one(value: AnyLength) -> AnyLength:
    """The length, refused where it is the constant zero."""
    if isinstance(value, ConstantLength) and value.tokens == 0:
        raise ValueError("expected at least 1 token, found 0; write a length of 1 or more")
    return value


AnyLength = ConstantLength | UniformLength | ExponentialLength | LognormalLength

_ByKind = Annotated[
    Annotated[ConstantLength, Tag("<constant>")]
    | Annotated[UniformLength, Tag("<uniform>")]
    | Annotated[ExponentialLength, Tag("<exponential>")]
    | Annotated[LognormalLength, Tag("<lognormal>")],
    Discriminator(kind_tag),
]

LengthOrZero = Annotated[_ByKind, BeforeValidator(_number_is_constant, json_schema_input_type=Tokens | _ByKind)]
"""A number of tokens (zero too) or a distribution of them."""

Length = Annotated[LengthOrZero, AfterValidator(_at_least_one)]
"""A positive number of tokens or a distribution of them."""
