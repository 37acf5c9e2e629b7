"""What a plan is asked for: the load and the SLO, and the fleets that may be bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.load import is_closed, load_of, with_load
from ctxsim.explore.outcomes import Outcome
from ctxsim.explore.vary import Setting
from ctxsim.spec import catalog
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario
from ctxsim.spec.serving import Slo
from ctxsim.units import show

HARDWARE, RANKS, KV_DTYPE = "hardware", "deployment.tensor_parallel", "serving.kv_dtype"
RESIDENCY, HOST_MEMORY = "serving.residency", "serving.host_kv_capacity"
BATCH_TOKENS, BATCH_SEQUENCES = "serving.max_num_batched_tokens", "serving.max_num_seqs"

RANKS_TRIED = (1, 2, 4, 8)
MOST_ACCELERATORS = 64

Values = Sequence[object] | None
"""What a choice may be; None: as the base has it."""


@dataclass(frozen=True)
class Space:
    """The choices, by the key that each sets. most_accelerators: of a whole fleet. host_kv_capacity is of a node."""

    choices: tuple[tuple[str, tuple[object, ...]], ...]
    most_accelerators: int = MOST_ACCELERATORS

    @classmethod
    def of(
        cls, *, accelerators: Values = None, max_accelerators: int = MOST_ACCELERATORS,
        tensor_parallel: Values = RANKS_TRIED, kv_dtype: Values = None, residency: Values = None,
        host_memory: Values = None, batch_tokens: Values = None, batch_seqs: Values = None,
    ) -> Space:  # fmt: skip
        """The space of these choices; raises SpecError for a list of none, a value twice, or an unknown profile."""
        listed = {
            "accelerators": (HARDWARE, accelerators), "tensor_parallel": (RANKS, tensor_parallel),
            "kv_dtype": (KV_DTYPE, kv_dtype), "residency": (RESIDENCY, residency),
            "host_memory": (HOST_MEMORY, host_memory), "batch_tokens": (BATCH_TOKENS, batch_tokens),
            "batch_seqs": (BATCH_SEQUENCES, batch_seqs),
        }  # fmt: skip
        for name, (_, values) in listed.items():
            _check_values(name, values)
        for profile in accelerators or ():
            catalog.find("hardware", str(profile))
        if max_accelerators < 1:
            raise _fault("max_accelerators", f"expected a whole number from 1 on, found {max_accelerators}")
        choices = tuple((key, tuple(values)) for key, values in listed.values() if values is not None)
        return cls(choices, max_accelerators)

    def designs(self) -> list[Setting]:
        """Every combination, in the order of the choices."""
        keys = [key for key, _ in self.choices]
        return [tuple(zip(keys, row, strict=True)) for row in product(*(values for _, values in self.choices))]

    @property
    def machines(self) -> int:
        """Combinations of accelerator and tensor parallelism."""
        return len({tuple(value for key, value in setting if key in (HARDWARE, RANKS)) for setting in self.designs()})


@dataclass(frozen=True)
class Goal:
    """A base scenario whose SLO is to be met at its load by a fleet of equal replicas."""

    document: Document
    base: Scenario

    @classmethod
    def of(cls, document: Document, *, users: int | None = None, rate: float | None = None) -> Goal:
        """The document's scenario, with other users or another rate of arrivals where that is given.

        Raises SpecError where no SLO is set, replicas are of several kinds, or the load is of the other kind.
        """
        base = resolve_scenario(document)
        _check_base(base)
        load_of(base)  # a trace has none that could be planned for
        given = users if users is not None else rate
        if given is None:
            return cls(document, base)
        closed = is_closed(base)
        if (users is not None and rate is not None) or closed != (users is not None) or given <= 0:
            wanted = "users (a whole number from 1 on)" if closed else "a rate of arrivals a second above zero"
            raise _fault("load", f"expected {wanted} for this workload, found users {users} and rate {rate}")
        return cls(document, with_load(base, given))

    @property
    def load(self) -> float:
        """Users, or arrivals a second."""
        return load_of(self.base)

    @property
    def closed(self) -> bool:
        """Whether the load is a number of users."""
        return is_closed(self.base)

    def scenario(self, design: Setting) -> Scenario | SpecError:
        """One replica of that design under the whole load, or why there is none."""
        one = {"deployment.replicas": 1}
        try:
            found = resolve_scenario(apply_overrides(self.document, {**dict(design), **one}))
        except SpecError as error:
            return error
        return with_load(found, self.load)


def meets(slo: Slo, outcome: Outcome) -> bool:
    """Whether a run meets the SLO at its percentile, and in the mean too.

    A fleet that keeps a few waiting for so long that the mean is beyond the limit does not serve the load.
    """
    if outcome.status != "ok" or outcome.row["slo_met_ratio"] != 1.0:
        return False
    limits = (("ttft_mean_s", slo.ttft), ("tpot_mean_s", slo.tpot))
    return all(limit_s is None or outcome.row[name] <= limit_s for name, limit_s in limits)


def design_text(design: Setting, scenario: Scenario) -> str:
    """A design in a few words: ``2 x a100-80gb-sxm, KV fp8, swap, 2048 tokens an iteration``."""
    serving, varied = scenario.serving, dict(design)
    words = [
        f"{scenario.deployment.ranks} x {scenario.hardware.name}",
        f"KV {serving.kv_dtype}",
        serving.residency,
        f"{serving.max_num_batched_tokens} tokens an iteration",
    ]
    if BATCH_SEQUENCES in varied:
        words.append(f"{serving.max_num_seqs} sequences")
    if HOST_MEMORY in varied:
        words.append(f"{show(serving.host_kv_capacity, 'bytes')} of host memory a node")
    return ", ".join(words)


def _check_base(base: Scenario) -> None:
    faults = []
    if base.slo.ttft is None and base.slo.tpot is None:
        message = "expected a limit to plan for, found none; write e.g. slo: {ttft: 20 s, tpot: 100 ms}"
        faults.append(Fault(base.path, None, None, "slo", message))
    if base.others:
        message = "expected one kind of replicas, found groups; remove deployment.groups, a plan chooses the fleet"
        faults.append(Fault(base.path, None, None, "deployment.groups", message))
    if faults:
        raise SpecError(*faults)


def check_prices(goal: Goal, space: Space) -> None:
    """Raises SpecError where one price of the scenario would be that of accelerators which it is not of."""
    price = goal.document.data.get("price")
    if len(dict(space.choices).get(HARDWARE, ())) > 1 and isinstance(price, dict) and price.get("accelerator"):
        message = "expected the price of each accelerator to be its profile's, found one for all; remove it"
        raise SpecError(goal.document.fault(("price", "accelerator"), message))


def _check_values(name: str, values: Values) -> None:
    if values is None:
        return
    if isinstance(values, str) or not values:
        raise _fault(name, f"expected a list of one value or more, found {values!r}; leave it out to keep the base's")
    if len(set(values)) < len(values):
        raise _fault(name, f"expected each value once, found {', '.join(map(str, values))}; name it once")


def _fault(name: str, message: str) -> SpecError:
    return SpecError(Fault("", None, None, name, message))
