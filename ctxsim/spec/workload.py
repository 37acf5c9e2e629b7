"""What the users ask for: multi-turn sessions, single requests, or a recorded trace, and how they arrive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ctxsim.spec.lengths import Length, LengthOrZero, check_lognormal, lognormal_sigma
from ctxsim.spec.quantity import PerS, Seconds
from ctxsim.spec.validation import FieldError, Spec, kind_tag

Count = Annotated[int, Field(ge=1, le=10**9)]
TraceFormat = Literal["mooncake", "azure", "agentic", "vllm-bench"]

SESSION_FORMATS: frozenset[TraceFormat] = frozenset({"agentic"})
"""Formats that say which requests follow one another in a session."""


class ConstantTime(Spec):
    """The same duration every time; a bare quantity in a file means this."""

    kind: Literal["constant"] = "constant"
    value: Seconds

    @property
    def mean_s(self) -> float:
        """The duration."""
        return self.value


class ExponentialTime(Spec):
    """Exponential with the given mean."""

    kind: Literal["exponential"]
    mean: Seconds

    @property
    def mean_s(self) -> float:
        """The mean."""
        return self.mean


class LognormalTime(Spec):
    """Lognormal with the given mean and 95 % quantile; `sigma` is the deviation of the logarithm."""

    kind: Literal["lognormal"]
    mean: Seconds
    p95: Seconds

    @model_validator(mode="after")
    def _solvable(self) -> LognormalTime:
        if self.mean == 0:
            raise FieldError("mean", 'expected a duration above zero, found 0 s; write e.g. "60 s"')
        check_lognormal(self.mean, self.p95)
        return self

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return lognormal_sigma(self.mean, self.p95)

    @property
    def mean_s(self) -> float:
        """The mean."""
        return self.mean


def _quantity_is_constant(value: object) -> object:
    """A bare quantity as the constant it stands for."""
    return value if isinstance(value, dict | Spec) else {"kind": "constant", "value": value}


_AnyTime = Annotated[
    Annotated[ConstantTime, Tag("<constant>")]
    | Annotated[ExponentialTime, Tag("<exponential>")]
    | Annotated[LognormalTime, Tag("<lognormal>")],
    Discriminator(kind_tag),
]

ThinkTime = Annotated[_AnyTime, BeforeValidator(_quantity_is_constant, json_schema_input_type=Seconds | _AnyTime)]
"""A duration or a distribution of them."""


class PoissonArrival(Spec):
    """Independent arrivals: exponential gaps with mean 1 / rate."""

    kind: Literal["poisson"]
    rate: PerS


class GammaArrival(Spec):
    """Gamma gaps with mean 1 / rate and the given shape: 1 is Poisson, below 1 burstier, above 1 steadier (as vLLM)."""

    kind: Literal["gamma"]
    rate: PerS
    burstiness: Annotated[float, Field(gt=0)] = 1.0


class ConstantArrival(Spec):
    """Equal gaps of 1 / rate."""

    kind: Literal["constant"]
    rate: PerS


class ClosedArrival(Spec):
    """A fixed number of users; each sends its next request one think time after its last answer."""

    kind: Literal["closed"]
    users: Count
    think_time: Seconds = 0.0


OpenArrival = Annotated[
    Annotated[PoissonArrival, Tag("<poisson>")]
    | Annotated[GammaArrival, Tag("<gamma>")]
    | Annotated[ConstantArrival, Tag("<constant>")],
    Discriminator(kind_tag),
]
"""Arrivals that do not wait for answers."""

Arrival = Annotated[
    Annotated[PoissonArrival, Tag("<poisson>")]
    | Annotated[GammaArrival, Tag("<gamma>")]
    | Annotated[ConstantArrival, Tag("<constant>")]
    | Annotated[ClosedArrival, Tag("<closed>")],
    Discriminator(kind_tag),
]
"""Arrivals, open or closed."""


class Sessions(Spec):
    """Conversations over a document: ``rounds`` turns of question and answer with a think time after each.

    The first turn's prompt is document + question. Either ``users`` hold sessions one after another (closed
    loop), or sessions come by ``arrival`` (open loop). ``num_sessions`` ends the run after so many.
    """

    kind: Literal["sessions"]
    users: Count | None = None
    arrival: OpenArrival | None = None
    document_tokens: Length
    rounds: Annotated[int, Field(ge=1, le=10**6)] = 1
    question_tokens: LengthOrZero
    answer_tokens: Length
    think_time: ThinkTime
    num_sessions: Count | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Sessions:
        if self.users is None and self.arrival is None:
            raise FieldError("users", "expected users or arrival, found neither; write e.g. users: 20")
        if self.users is not None and self.arrival is not None:
            raise FieldError("arrival", "expected users or arrival, found both; remove one of them")
        return self


class Requests(Spec):
    """Independent requests of one prompt and one answer each; an answer of no tokens ends with its prefill."""

    kind: Literal["requests"]
    prompt_tokens: Length
    output_tokens: LengthOrZero
    arrival: Arrival
    num_requests: Count


class Trace(Spec):
    """A recorded trace, read from a file: its first ``num_requests`` (all by default), timestamps x ``time_scale``.

    ``pace``: at ``recorded`` every request comes at its time, whether or not earlier ones were answered. At
    ``think_time`` a session waits for its answers, as its user did: its first request comes at its recorded time, each
    later one a think time after the answer before it. ``time_scale`` stretches recorded times and the gaps between
    them, not think times.
    """

    kind: Literal["trace"]
    trace: Annotated[str, Field(min_length=1)]
    format: TraceFormat
    num_requests: Count | None = None
    time_scale: Annotated[float, Field(gt=0)] = 1.0
    pace: Literal["recorded", "think_time"] = "recorded"

    @model_validator(mode="after")
    def _sessions_to_pace(self) -> Trace:
        if self.pace == "think_time" and self.format not in SESSION_FORMATS:
            wanted = f"expected recorded (the format {self.format} does not say which requests make up a session)"
            raise FieldError("pace", f'{wanted}, found "think_time"; write pace: recorded')
        return self


Workload = Annotated[
    Annotated[Sessions, Tag("<sessions>")] | Annotated[Requests, Tag("<requests>")] | Annotated[Trace, Tag("<trace>")],
    Discriminator(kind_tag),
]
"""Any workload, told apart by its ``kind``."""
