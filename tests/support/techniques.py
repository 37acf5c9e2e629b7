"""Techniques written for a test: one effect in a file of its own."""

from __future__ import annotations

from pathlib import Path

from ctxsim.spec.models import load_model
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.techniques import Changed, Subject, apply_all, load_technique

REST = """
title: For a test
identity_note: it is for a test
stored: what is said
read: what is said
computed: what is said
moved: what is said
improves: []
training: {effort: none, source: test}
needle: {state: untested, source: test}
claim: {text: nothing, source: test}
sources: [test]
"""


def technique_file(folder: Path, name: str, *effects: str, dimension: str = "token", parameters: str = "{}") -> str:
    """The path of a technique with these effects, each a mapping in YAML."""
    listed = "".join(f"  - {{{effect}}}\n" for effect in effects)
    head = f"name: {name}\ndimension: {dimension}\nparameters: {parameters}\neffects:\n{listed}"
    path = folder / f"{name}.yaml"
    path.write_text(head + REST.lstrip())
    return str(path)


def subject_of(model: str, **serving: object) -> Subject:
    """A shipped model with these settings."""
    return Subject(load_model(model), Serving.model_validate(serving), Deployment())


def applied(model: str | Subject, *written: str) -> Changed:
    """A model with these techniques."""
    subject = subject_of(model) if isinstance(model, str) else model
    return apply_all([load_technique(one) for one in written], subject)


def identity_of(name: str) -> str:
    """A shipped technique as one writes it at its identity."""
    settings = load_technique(name).file.identity
    assert settings, f"expected parameters at which {name} changes nothing, found none"
    words = {key: "null" if value is None else value for key, value in settings.items()}
    return f"{name}({','.join(f'{key}={value}' for key, value in words.items())})"
