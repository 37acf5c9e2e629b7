"""Fields of a scenario as flags set them, each with the words that set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ctxsim.interop.flags import Value
from ctxsim.spec.document import Document, Loc
from ctxsim.spec.serving import Deployment

PASTED = "command line"
"""What a scenario from a command line calls its file."""


@dataclass
class Settings:
    """``values``: by dotted field; ``origins``: the words that set each."""

    values: dict[str, Value] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: Value, origin: str) -> None:
        """The field has the value, because of those words."""
        self.values[name] = value
        self.origins[name] = origin

    def whole(self, name: str) -> int:
        """A number of the deployment or a batch, at least 1 where it was given wrongly or not at all."""
        value = self.values.get(name)
        return max(value, 1) if isinstance(value, int) else 1

    @property
    def deployment(self) -> Deployment:
        """The deployment as far as it is known; its faults are found when the scenario is checked."""
        replicas, ranks = self.whole("deployment.replicas"), self.whole("deployment.tensor_parallel")
        return Deployment.model_construct(replicas=replicas, tensor_parallel=ranks)

    def document(self, others: Mapping[str, object]) -> Document:
        """The scenario's document: the others as they are, then the fields, whose faults name the words."""
        data: dict[str, object] = dict(others)
        origins: dict[Loc, str] = {}
        for name, value in self.values.items():
            loc = tuple(name.split("."))
            origins[loc] = self.origins[name]
            if value is not None:
                *way, last = loc
                part = data.setdefault(way[0], {}) if way else data
                assert isinstance(part, dict)
                part[last] = value
        return Document(PASTED, data, overridden=origins)
