"""What is known of techniques, and what they do to a model's KV, as plain rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctxsim.cli.listings import KV_BYTES_AT, layer_kinds
from ctxsim.errors import Fault, SpecError
from ctxsim.geometry import KvLayout, kv_bytes_per_token, state_bytes_per_sequence
from ctxsim.spec import catalog
from ctxsim.spec.models import load_model
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.techniques import DIMENSIONS, StackError, Subject, apply_all, load_technique


def technique_rows() -> list[dict[str, Any]]:
    """One row a technique that ships, in the order in which they are applied."""
    files = [load_technique(name).file for name in catalog.names("technique")]
    files.sort(key=lambda file: (DIMENSIONS.index(file.dimension), file.name))
    return [
        {
            "name": file.name,
            "title": file.title,
            "dimension": file.dimension,
            "parameters": file.parameters,
            "improves": list(file.improves),
            "training": file.training.effort,
            "needle": file.needle.state,
        }
        for file in files
    ]


def technique_details(written: str, model: str) -> dict[str, Any]:
    """All that the technique's file says, and a model's KV without and with it; raises SpecError where refused."""
    technique = load_technique(written)
    subject = Subject(load_model(model), Serving(), Deployment())
    try:
        changed = apply_all([technique], subject)
    except StackError as refusal:
        message = f'expected a model to which it can be applied, found "{model}": {refusal}; name another with --model'
        raise SpecError(Fault("", None, None, "technique", message)) from None
    said = technique.file.model_dump(mode="json", exclude_none=True)
    return {
        **said,
        "parameters": dict(technique.parameters),
        "model": subject.model.name,
        "before": _kv(subject),
        "after": _kv(changed.subject),
    }


def _kv(subject: Subject) -> Mapping[str, Any]:
    """What the model keeps, served so (no tensor parallelism)."""
    model, kv_dtype = subject.model, subject.serving.kv_dtype
    layout = KvLayout.of(model, kv_dtype)
    return {
        "kv_dtype": kv_dtype,
        "layer_kinds": layer_kinds(model),
        "num_parameters": model.num_parameters,
        "kv_bytes_per_token": kv_bytes_per_token(model, kv_dtype),
        "state_bytes_per_sequence": state_bytes_per_sequence(model),
        "kv_bytes_at": {str(tokens): layout.held_bytes(tokens) for tokens in KV_BYTES_AT},
    }
