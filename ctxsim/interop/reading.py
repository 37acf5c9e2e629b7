"""The flags of one command line, read into the fields of a scenario."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ctxsim.errors import Fault, SpecError, nearest
from ctxsim.interop.command_line import Given, negated, normalized
from ctxsim.interop.flags import Flag, FlagTable, Value
from ctxsim.interop.memory import static_fraction
from ctxsim.interop.settings import Settings
from ctxsim.interop.values import UnmodelledError, ValueFaultError, read_value
from ctxsim.spec.hardware import Hardware

Status = Literal["used", "default", "no_effect", "not_modelled", "unknown"]


@dataclass(frozen=True, slots=True)
class FlagUse:
    """What became of a flag, and why; ``value``: as typed, or the engine's default; ``field``: what it decides."""

    flag: str
    value: str | None
    status: Status
    field: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """A flag whose field follows only from the scenario that the others make; ``origin``: its words."""

    flag: Flag
    amount: float
    origin: str


class FlagReading:
    """Reads flags by a table for a machine: ``uses`` says what became of each, defaults last.

    Where a flag is given twice the last one counts, as it does for the engines.
    """

    def __init__(self, table: FlagTable, hardware: Hardware, given: Iterable[Given]) -> None:
        self.table, self.hardware = table, hardware
        self.uses: list[FlagUse] = []
        self.later: list[Later] = []
        self._faults: list[Fault] = []
        self._known: dict[str, list[tuple[Given, str | None]]] = {}
        for one in given:
            self._sort(one)

    def settings(self) -> Settings:
        """All fields that the engine decides; raises SpecError with the faults of all values."""
        settings = Settings()
        for name, always in self.table.always.items():
            settings.set(name, always.value, f"always so in {self.table.shown}: {always.why}")
        for flag in sorted(self.table.flags, key=_order):
            for given, text in self._counted(flag):
                self._take(flag, given, text, settings)
        for flag in sorted(self.table.flags, key=_order):
            if flag.name not in self._known:
                self._default(flag, settings)
        if self._faults:
            raise SpecError(*self._faults)
        return settings

    def decided(self, field: str) -> bool:
        """Whether a flag that was given decides the field."""
        return any(use.field == field and use.status == "used" for use in self.uses)

    def _sort(self, given: Given) -> None:
        name = normalized(given.spelled)
        flag = self.table.find(name)
        off = negated(name, self.table) if flag is None else None
        if off is not None:
            self._know(off, given, "true" if given.value == "false" else "false")
        elif flag is not None:
            self._know(flag, given, given.value)
        else:
            hint = nearest(name, self.table.spellings()).removeprefix("; ")
            self.uses.append(FlagUse(given.spelled, given.value, "unknown", note=hint or None))

    def _know(self, flag: Flag, given: Given, text: str | None) -> None:
        self._known.setdefault(flag.name, []).append((given, text))

    def _counted(self, flag: Flag) -> list[tuple[Given, str | None]]:
        """Of a flag that decides a field only the last time it is given; of others all, which may be keys of one."""
        times = self._known.get(flag.name, [])
        if flag.field is None and flag.later is None:
            return times
        for given, _ in times[:-1]:
            self._note(given, "no_effect", None, "given again after it")
        return times[-1:]

    def _idle(self, flag: Flag) -> str | None:
        """Why the flag does nothing beside the others, or None."""
        if flag.needs is not None and flag.needs not in self._known:
            return f"nothing without {flag.needs}"
        return f"nothing beside {flag.unless}" if flag.unless in self._known else None

    def _take(self, flag: Flag, given: Given, text: str | None, settings: Settings) -> None:
        try:
            value = _value_of(flag, text, settings)
        except UnmodelledError as error:
            self._note(given, "not_modelled", flag.field, str(error))
            self._default(flag, settings)
        except ValueFaultError as error:
            self._faults.append(Fault(str(given), None, None, flag.field or "", str(error)))
        else:
            nothing = flag.no_effect or self._idle(flag)
            self._note(given, "no_effect" if nothing else "used", flag.field, nothing or flag.note)
            if not nothing:
                self._apply(flag, value, str(given), settings)

    def _note(self, given: Given, status: Status, field: str | None, note: str | None) -> None:
        self.uses.append(FlagUse(given.spelled, given.value, status, field, note))

    def _default(self, flag: Flag, settings: Settings) -> None:
        typed = flag.default_value(self.hardware)
        if flag.default_from is not None:
            chunk_tokens = settings.whole("serving.max_num_batched_tokens")
            typed = static_fraction(self.hardware, settings.whole("deployment.tensor_parallel"), chunk_tokens)
        if typed is None or self._idle(flag) is not None:
            return
        value = read_value(flag, str(typed), settings.deployment)
        if flag.at_most is not None and isinstance(value, int):
            value = min(value, settings.whole(flag.at_most))
        self.uses.append(FlagUse(flag.name, str(typed), "default", flag.field, flag.source))
        origin = f"default of {self.table.shown}, {flag.source}" + (f": {flag.note}" if flag.note else "")
        self._apply(flag, value, origin, settings)

    def _apply(self, flag: Flag, value: Value, origin: str, settings: Settings) -> None:
        if flag.later is not None:
            assert isinstance(value, int | float)
            self.later.append(Later(flag, value, origin))
            return
        assert flag.field is not None
        settings.set(flag.field, value, origin)
        default = flag.default_value(self.hardware)
        if default is None or value != read_value(flag, str(default), settings.deployment):
            for name, implied in flag.implies.items():
                settings.set(name, implied, f"with {origin}")


def _value_of(flag: Flag, text: str | None, settings: Settings) -> Value:
    if flag.not_modelled is not None:
        raise UnmodelledError(flag.not_modelled)
    return read_value(flag, text, settings.deployment)


def _order(flag: Flag) -> tuple[bool, bool]:
    """The deployment first, since ranks and engines have amounts of their own; what follows from others last."""
    last = flag.default_from is not None or flag.at_most is not None
    return not (flag.field or "").startswith("deployment."), last
