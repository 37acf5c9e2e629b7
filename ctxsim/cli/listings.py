"""What is known of machines and models, as plain rows."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from ctxsim.geometry import KvLayout, kv_bytes_per_token, state_bytes_per_sequence
from ctxsim.spec import catalog
from ctxsim.spec.hardware import Hardware, combine
from ctxsim.spec.hardware_file import HostFile, read_host, read_profile, sourced_values
from ctxsim.spec.model import Attention, LatentAttention, Mixer, ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.units import DIMENSIONS

KV_DTYPE = "bf16"
"""The number format of the context bytes that a model is shown with."""

KV_BYTES_AT = (4096, 50_000, 131_072, 1_000_000)
"""Context lengths that a model's bytes are shown for."""

_UNITS = (
    (r"flop_per_s(\.\w+)?$", "flop_per_s"),
    (r"bytes_per_s$", "bytes_per_s"),
    (r"_bytes$", "bytes"),
    (r"(descriptor|latency)_s$", "seconds"),
    (r"power_w$", "watts"),
    (r"^price\.accelerator$", "usd_per_s"),
    (r"^price\.(host_memory|disk)$", "usd_per_byte_s"),
    (r"^price\.energy$", "usd_per_joule"),
)


def hardware_rows() -> list[dict[str, Any]]:
    """One row an accelerator that ships, in order of name."""
    rows = []
    for name in catalog.names("hardware"):
        profile, _ = read_profile(name)
        machine = combine(profile, read_host(profile.host))
        rows.append({"name": name, **_numbers(machine), "description": profile.description})
    return rows


def host_rows() -> list[dict[str, Any]]:
    """One row a host that ships, in order of name."""
    return [_host_row(read_host(name)) for name in catalog.names("host")]


def hardware_details(name: str, host: str | None) -> dict[str, Any]:
    """A machine's plain numbers, and every value of its two files with unit, source and note."""
    profile, _ = read_profile(name)
    block = read_host(host or profile.host)
    return {
        **_numbers(combine(profile, block)),
        "description": profile.description,
        "values": _values(profile, profile.sources),
        "host_values": _values(block, block.sources),
    }


def model_rows() -> list[dict[str, Any]]:
    """One row a model that ships, in order of name."""
    rows = []
    for name in catalog.names("model"):
        spec = load_model(name)
        rows.append(
            {"name": name, "family": spec.family, **_sizes(spec), "max_context_tokens": spec.max_context_tokens}
        )
    return rows


def model_details(name: str) -> dict[str, Any]:
    """A model's parameters, layers and bytes of context (bf16, no tensor parallelism)."""
    spec = load_model(name)
    layout = KvLayout.of(spec, KV_DTYPE)
    return {
        "name": spec.name,
        "family": spec.family,
        **_sizes(spec),
        "max_context_tokens": spec.max_context_tokens,
        "layer_kinds": layer_kinds(spec),
        "kv_bytes_at": {str(tokens): layout.held_bytes(tokens) for tokens in KV_BYTES_AT},
        "defaulted_fields": list(spec.defaulted_fields),
    }


def layer_kinds(spec: ModelSpec) -> dict[str, int]:
    """How many layers there are of each kind, in order of first appearance: {"sliding 1024": 52, "full": 10}."""
    kinds: dict[str, int] = {}
    for layer, number in spec.layer_counts.items():
        kind = _kind(layer.mixer)
        kinds[kind] = kinds.get(kind, 0) + number
    return kinds


def _sizes(spec: ModelSpec) -> dict[str, Any]:
    return {
        "num_parameters": spec.num_parameters,
        "num_active_parameters": spec.num_active_parameters,
        "num_layers": spec.num_layers,
        "kv_bytes_per_token": kv_bytes_per_token(spec, KV_DTYPE),
        "state_bytes_per_sequence": state_bytes_per_sequence(spec),
    }


def _kind(mixer: Mixer) -> str:
    if isinstance(mixer, Attention):
        return mixer.kind if mixer.window_tokens is None else f"{mixer.kind} {mixer.window_tokens}"
    if isinstance(mixer, LatentAttention):
        return "latent" if mixer.index_topk is None else f"latent top-{mixer.index_topk}"
    return mixer.kind


def _numbers(machine: Hardware) -> dict[str, Any]:
    """The machine's numbers by the names they have in Python; peaks as a mapping."""
    numbers = asdict(machine)
    peaks = dict(numbers.pop("peaks_flop_per_s"))
    return {"name": numbers.pop("name"), "peak_flop_per_s": peaks, **numbers}


def _host_row(block: HostFile) -> dict[str, Any]:
    memory, nvme = block.memory, block.nvme
    return {
        "name": block.name,
        "memory_kind": memory.kind,
        "memory_bytes": memory.capacity_bytes.value,
        "memory_bytes_per_s": memory.sockets.value * memory.bytes_per_s.value,
        "nvme_bytes": nvme.drives.value * nvme.capacity_bytes.value,
        "nvme_read_bytes_per_s": nvme.drives.value * nvme.read_bytes_per_s.value,
        "description": block.description,
    }


def _values(model: BaseModel, sources: dict[str, str]) -> list[dict[str, Any]]:
    """Every sourced value of a file; a source that is a key of the file's list is written out."""
    rows = []
    for loc, sourced in sourced_values(model):
        field = ".".join(str(part) for part in loc)
        dimension = next((d for pattern, d in _UNITS if re.search(pattern, field)), None)
        rows.append(
            {
                "field": field,
                "value": sourced.value,
                "unit": None if dimension is None else DIMENSIONS[dimension].si_unit,
                "source": sources.get(sourced.source, sourced.source),
                "note": sourced.note,
            }
        )
    return rows
