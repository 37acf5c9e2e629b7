"""Results as JSON: no NaN, plain types, whole amounts as whole numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

_AMOUNT = re.compile(r"(bytes|tokens|flop)(_at)?$")


def jsonable(value: Any, key: str = "") -> Any:
    """The value as ``json`` can write it.

    NaN and infinities become null. Whole floats under a key that counts bytes, tokens or FLOP become integers.
    """
    if isinstance(value, Mapping):
        return {str(name): jsonable(item, _owner(str(name), key)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, key) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if not isinstance(value, float):
        return value
    if not isfinite(value):
        return None
    return int(value) if value.is_integer() and counts_amount(key) else value


def counts_amount(key: str) -> bool:
    """Whether a key's values are bytes, tokens or FLOP, as amounts or per thing, and not rates per second."""
    amount, _, per = key.partition("_per_")
    return bool(_AMOUNT.search(amount)) and per != "s"


def dumps(value: Any) -> str:
    """The value as indented JSON text that ends with a line break; the same text for the same value."""
    return json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n"


def _owner(name: str, key: str) -> str:
    """The key that says what a nested value is: its own, or the outer one's where its own is a bare number."""
    return key if name.isdecimal() else name
