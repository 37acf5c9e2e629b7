"""What the flags of an engine's version mean: tables in ``flags/``, one file an engine and version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.document import read_document
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.quantity import Bytes
from ctxsim.spec.validation import Spec, validate

FOLDER = Path(__file__).parent / "flags"

Engine = Literal["vllm", "sglang"]
Value = str | int | float | bool | None
Kind = Literal["text", "list", "switch", "whole", "tokens", "ratio", "gibibytes_per_replica", "gigabytes_per_rank"]
Later = Literal["kv_bytes_per_accelerator", "kv_tokens", "kv_ratio"]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Rule(Spec):
    """A default for accelerators with that much memory whose name has none of the words."""

    value: int
    accelerator_memory_from: Bytes = 0.0
    not_named: Texts = ()

    def holds(self, hardware: Hardware) -> bool:
        """Whether the hardware is such an accelerator."""
        named = any(word in hardware.name.lower() for word in self.not_named)
        return hardware.hbm_bytes >= self.accelerator_memory_from and not named


class Flag(Spec):
    """One flag: how its value is read, and what follows from it.

    ``field``: the scenario's, which gets the value, or what ``words`` makes of it. ``later``: worked out from the
    scenario that the other flags make. ``default``: as it would be typed, or the first rule that holds;
    ``default_from``: a formula by name. ``implies``: fields that a value other than the default sets too. ``at_most``:
    a field that a default does not exceed. ``needs``, ``unless``: a flag without which, or with which, it does nothing.
    ``nearest``, ``emit_unless``: what is written for values of a scenario that the engine does not have.
    """

    name: str
    aliases: Texts = ()
    kind: Kind
    field: str | None = None
    later: Later | None = None
    words: Mapping[str, Value] | None = None
    unmodelled_words: Mapping[str, str] = {}
    default: Value | Annotated[tuple[Rule, ...], Field(strict=False)] = None
    default_from: Literal["static_fraction"] | None = None
    at_most: str | None = None
    implies: Mapping[str, Value] = {}
    needs: str | None = None
    unless: str | None = None
    nearest: Mapping[str, str] = {}
    emit_unless: Mapping[str, Annotated[tuple[Value, ...], Field(strict=False)]] = {}
    no_effect: str | None = None
    not_modelled: str | None = None
    source: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Flag:
        said = [self.field, self.later, self.no_effect, self.not_modelled]
        if sum(part is not None for part in said) != 1:
            raise ValueError(f"expected one of field, later, no_effect, not_modelled for {self.name}")
        return self

    def default_value(self, hardware: Hardware) -> Value:
        """The default on that hardware; None where the engine has none of its own."""
        if isinstance(self.default, tuple):
            return next(rule.value for rule in self.default if rule.holds(hardware))
        return self.default


class Always(Spec):
    """What an engine does whatever its flags say."""

    value: Value
    why: str


class FlagTable(Spec):
    """The flags of one engine and version. ``cannot``: why a field has a value that no flag gives."""

    engine: Engine
    version: str
    shown: str
    extends: str | None = None
    model_flag: str = ""
    switches_negate: bool = False
    always: Mapping[str, Always] = {}
    cannot: Mapping[str, str] = {}
    without: Texts = ()
    flags: Annotated[tuple[Flag, ...], Field(strict=False)]

    def find(self, spelled: str) -> Flag | None:
        """The flag of that name or alias."""
        return next((flag for flag in self.flags if spelled in (flag.name, *flag.aliases)), None)

    def spellings(self) -> Iterator[str]:
        """All names and aliases."""
        for flag in self.flags:
            yield from (flag.name, *flag.aliases)


def versions(engine: Engine) -> list[str]:
    """The versions of the engine that there is a table of, the newest last."""
    found = [path.stem.removeprefix(f"{engine}-") for path in FOLDER.glob(f"{engine}-*.yaml")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def flag_table(engine: Engine, version: str | None = None) -> FlagTable:
    """The table of that version, the newest by default; raises SpecError where there is none."""
    known = versions(engine)
    if version is not None and version not in known:
        message = f"expected a version of {engine} with a table of flags, found {version}; known: {', '.join(known)}"
        raise SpecError(Fault("--engine-version", None, None, "", message))
    return _read(f"{engine}-{version or known[-1]}")


@cache
def _read(name: str) -> FlagTable:
    table = validate(FlagTable, read_document(FOLDER / f"{name}.yaml"))
    return table if table.extends is None else _extended(_read(table.extends), table)


def _extended(base: FlagTable, table: FlagTable) -> FlagTable:
    """The base with the table's flags in place of those of the same names, and without those that it lacks."""
    own = {flag.name: flag for flag in table.flags}
    kept = [flag for flag in base.flags if flag.name not in own and flag.name not in table.without]
    changed = {
        "version": table.version,
        "shown": table.shown,
        "flags": (*kept, *table.flags),
        "always": {**base.always, **table.always},
        "cannot": {**base.cannot, **table.cannot},
    }
    return base.model_copy(update=changed)
