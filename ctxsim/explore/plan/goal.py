"""What a plan is asked for: the load and the SLO, and the fleets that may be bought."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from ctxsim.errors import Fault, SpecError
from ctxsim.explore.load import is_closed, load_of, with_load
from ctxsim.explore.vary import Setting
from ctxsim.spec.document import Document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.scenario import Scenario, resolve_scenario

HARDWARE, RANKS, KV_DTYPE = "hardware", "deployment.tensor_parallel", "serving.kv_dtype"
RESIDENCY, HOST_MEMORY = "serving.residency", "serving.host_kv_capacity"
BATCH_TOKENS, BATCH_SEQUENCES = "serving.max_num_batched_tokens", "serving.max_num_seqs"


@dataclass(frozen=True)
class Space:
    """The choices, by the key that each sets; a key without choices stays as the base has it.

    most_accelerators: of a whole fleet. host_kv_capacity is of a node.
    """

    choices: tuple[tuple[str, tuple[object, ...]], ...]
    most_accelerators: int

    def designs(self) -> list[Setting]:
        """Every combination, in the order of the choices."""
        keys = [key for key, values in self.choices if values]
        return [
            tuple(zip(keys, row, strict=True)) for row in product(*(values for _, values in self.choices if values))
        ]


@dataclass(frozen=True)
class Goal:
    """A base scenario whose SLO is to be met at its load by a fleet of equal replicas."""

    document: Document
    base: Scenario = field(compare=False)

    @classmethod
    def of(cls, document: Document, load: float | None = None) -> Goal:
        """The document's scenario, under another load where one is given; raises SpecError where no SLO is set."""
        base = resolve_scenario(document)
        faults = []
        if base.slo.ttft is None and base.slo.tpot is None:
            message = "expected a limit to plan for, found none; write e.g. slo: {ttft: 20 s, tpot: 100 ms}"
            faults.append(Fault(base.path, None, None, "slo", message))
        if base.others:
            message = "expected one kind of replicas, found groups; remove deployment.groups, a plan chooses the fleet"
            faults.append(Fault(base.path, None, None, "deployment.groups", message))
        if faults:
            raise SpecError(*faults)
        return cls(document, base if load is None else with_load(base, load))

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


def design_text(design: Setting, scenario: Scenario) -> str:
    """A design in a few words: ``2 x a100-80gb-sxm, KV fp8, swap``."""
    serving = scenario.serving
    words = [
        f"{scenario.deployment.tensor_parallel} x {scenario.hardware.name}",
        f"KV {serving.kv_dtype}",
        serving.residency,
        f"{serving.max_num_batched_tokens} tokens an iteration",
    ]
    return ", ".join(words)
