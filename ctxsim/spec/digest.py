"""A digest of a value's whole contents, the same on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from pydantic import BaseModel


def canonical(value: object, done: dict[int, object] | None = None) -> object:
    """The value as JSON can hold it: dataclasses and models as mappings of their fields, tuples as lists.

    done: what objects have become, by identity, so that one that stands in many places is walked once.
    """
    done = {} if done is None else done
    if isinstance(value, BaseModel):
        return {name: canonical(getattr(value, name), done) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if id(value) not in done:
            done[id(value)] = {f.name: canonical(getattr(value, f.name), done) for f in dataclasses.fields(value)}
        return done[id(value)]
    if isinstance(value, dict):
        return {str(key): canonical(item, done) for key, item in value.items()}
    return [canonical(item, done) for item in value] if isinstance(value, list | tuple) else value


def sha256_of(value: object) -> str:
    """The hexadecimal SHA-256 of the value's canonical JSON (sorted keys, shortest floats, no NaN)."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
