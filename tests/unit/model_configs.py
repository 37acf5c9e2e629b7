"""Shipped configurations, changed for a test, and what reading them gives."""

import json

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.catalog import find, names
from ctxsim.spec.document import parse_document
from ctxsim.spec.huggingface import read_config
from ctxsim.spec.model import ModelSpec

CONFIGS = [name for name in names("model") if find("model", name).suffix == ".json"]


def config(name: str, /, drop: tuple[str, ...] = (), **changes: object) -> dict:
    """A shipped configuration with some fields of its text part changed or dropped."""
    data = json.loads(find("model", name).read_text())
    text = data.get("text_config", data)
    for key in drop:
        del text[key]
    text.update(changes)
    return data


def read(data: dict) -> ModelSpec:
    return read_config(parse_document(json.dumps(data, indent=1), "config.json"), "a-model")


def load_named(name: str) -> ModelSpec:
    return read(config(name))


def faults(data: dict) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        read(data)
    return {fault.field: fault.message for fault in caught.value.faults}


def mixers(model: ModelSpec) -> list:
    return [layer.mixer for layer in model.layers]
