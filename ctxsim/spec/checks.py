"""What must hold between the parts of a scenario: between settings and model, hardware, workload and files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from ctxsim.errors import Fault, shorten
from ctxsim.spec.document import Document, Loc
from ctxsim.spec.domains import joined
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.lengths import AnyLength
from ctxsim.spec.model import Attention, ModelSpec, StateMixer
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.workload import SESSION_FORMATS, Requests, Sessions, Trace, TraceFormat, Workload
from ctxsim.units import show

HASHED_FORMATS: frozenset[TraceFormat] = frozenset({"mooncake"})
"""Formats whose prompts carry block hashes: prefixes are shared by whoever begins alike."""


def support_faults(file: ScenarioFile, document: Document) -> Iterator[Fault]:
    """Settings that are well formed but that this version does not model."""
    if file.fidelity == "peak" and file.calibration is not None:
        message = f'expected none at fidelity peak, found "{shorten(file.calibration)}"; write fidelity: calibrated'
        yield document.fault(("calibration",), message)


def model_faults(deployment: Deployment, model: ModelSpec, document: Document, place: Loc) -> Iterator[Fault]:
    """A tensor-parallel degree that does not split the attention heads of every layer evenly.

    ``place``: where the deployment, or the group of replicas, stands.
    """
    shards = deployment.tensor_parallel
    if model.splits_over(shards):
        return
    mixers = {layer.mixer for layer in model.layer_counts}
    heads = sorted({mixer.num_heads for mixer in mixers if not isinstance(mixer, StateMixer)})
    uneven = [count for count in heads if count % shards]
    if uneven:
        counts = " and ".join(str(count) for count in uneven)
        message = f"expected a divisor of the {counts} attention heads of {model.name}, found {shards}"
    else:
        counts = " and ".join(str(n) for n in sorted({m.num_kv_heads for m in mixers if isinstance(m, Attention)}))
        message = f"expected a divisor or a multiple of the {counts} KV heads of {model.name}, found {shards}"
    fitting = [n for n in range(1, math.gcd(*heads) + 1) if model.splits_over(n)]
    would_do = f"{', '.join(str(n) for n in fitting)} would do"
    yield document.fault((*place, "tensor_parallel"), f"{message}; {would_do}")


def hardware_faults(deployment: Deployment, hardware: Hardware, document: Document, place: Loc) -> Iterator[Fault]:
    """A tensor-parallel group that scale-up link and network do not join; ``place`` as for model_faults."""
    shards, most = deployment.tensor_parallel, hardware.max_accelerators
    if joined(shards, 1, hardware):
        return
    if hardware.scale_out_bytes_per_s is None:
        why = f"what the scale-up link of {hardware.name} joins; its profile has no scale_out to go further"
        message = f"expected at most {most} ({why}), found {shards}; lower it and add replicas"
    else:
        whole = shards // most * most
        message = f"expected whole domains of {most} accelerators (what the scale-up link of {hardware.name} joins)"
        message = f"{message}, found {shards}; {whole} or {whole + most} would do"
    yield document.fault((*place, "tensor_parallel"), message)


def format_faults(serving: Serving, hardware: Hardware, document: Document) -> Iterator[Fault]:
    """Weights in fp32 on a device that is not known to multiply in it: nothing narrower could stand in."""
    if serving.weight_dtype == "fp32" and hardware.peak_flop_per_s("fp32") is None:
        known = ", ".join(name for name, _ in hardware.peaks_flop_per_s)
        message = f"expected a format that {hardware.name} has a peak for ({known}), found fp32"
        yield document.fault(
            ("serving", "weight_dtype"), f"{message}; write bf16, or give the profile peak_flop_per_s.fp32"
        )


def room_faults(serving: Serving, hardware: Hardware, document: Document) -> Iterator[Fault]:
    """More room for KV below HBM than a node has."""
    rooms = (
        ("host_kv_capacity", "memory", hardware.host_memory_bytes),
        ("disk_kv_capacity", "drives", hardware.nvme_bytes),
    )
    for field, what, most_bytes in rooms:
        asked_bytes = getattr(serving, field)
        if asked_bytes > most_bytes:
            wanted = f"expected at most {show(most_bytes, 'bytes')} (the {what} of a node of {hardware.host_name})"
            would_do = "lower it, or name a host that has more"
            yield document.fault(("serving", field), f"{wanted}, found {show(asked_bytes, 'bytes')}; {would_do}")


def residency_faults(file: ScenarioFile, document: Document) -> Iterator[Fault]:
    """Policies and tiers that could not do what their names promise with this router, this trace or these rooms."""
    serving, workload = file.serving, file.workload
    residency = serving.residency
    if serving.disk_kv_capacity and not serving.host_kv_capacity:
        wanted = "expected 0 B without serving.host_kv_capacity (KV goes to disk by way of host memory)"
        found = show(serving.disk_kv_capacity, "bytes")
        message = f"{wanted}, found {found}; set serving.host_kv_capacity too"
        yield document.fault(("serving", "disk_kv_capacity"), message)
    if residency not in ("keep", "cheapest", "clairvoyant"):
        return

    def refuse(why: str, would_do: str) -> Fault:
        return document.fault(("serving", "residency"), f'expected another ({why}), found "{residency}"; {would_do}')

    if file.deployment.router == "central_queue":
        why = "replicas that take from one queue give a session no home to hold its KV in"
        yield refuse(why, "write swap or recompute, or deployment.router: session_affinity")
    if not isinstance(workload, Trace):
        return
    if workload.format in HASHED_FORMATS and residency != "cheapest":
        why = f"prefixes of the format {workload.format} belong to no session, so nobody knows when they end"
        yield refuse(why, "write swap, recompute or cheapest")
    elif workload.pace == "recorded" and residency == "clairvoyant":
        why = "at the recorded pace nobody is told when a session asks again"
        paced = workload.format in SESSION_FORMATS
        yield refuse(why, "write workload.pace: think_time" if paced else "write swap, recompute or cheapest")


def length_faults(workload: Workload, max_model_len: int, document: Document) -> Iterator[Fault]:
    """A request or session whose context outgrows the window.

    Fixed and bounded lengths are judged by their longest, unbounded ones by their mean.
    """
    if isinstance(workload, Trace):
        return
    if isinstance(workload, Requests):
        field, formula = "prompt_tokens", "prompt + output"
        tokens = _longest(workload.prompt_tokens) + _longest(workload.output_tokens)
    else:
        field, formula = "document_tokens", f"document + {workload.rounds} x (question + answer)"
        tokens = _longest(workload.document_tokens) + workload.rounds * _longest_turn(workload)
    if tokens > max_model_len:
        wanted = f"expected {formula} of at most max_model_len ({max_model_len} tokens)"
        would_do = "shorten it or raise serving.max_model_len"
        yield document.fault(("workload", field), f"{wanted}, found {tokens:.0f}; {would_do}")


def trace_faults(workload: Workload, document: Document) -> Iterator[Fault]:
    """A trace that is no file (its lines are checked when it is read)."""
    if isinstance(workload, Trace) and not os.path.isfile(workload.trace):
        found = "a folder" if os.path.isdir(workload.trace) else "none"
        message = f'expected a trace file, found {found} at "{shorten(workload.trace)}"; check the path'
        yield document.fault(("workload", "trace"), message)


def warnings_of(serving: Serving, model: ModelSpec) -> Iterator[str]:
    """What is unusual, but may be meant."""
    window = model.max_context_tokens
    if serving.max_model_len is not None and serving.max_model_len > window:
        yield (
            f"serving.max_model_len {serving.max_model_len} is beyond the {window} tokens that {model.name} "
            "was made for: the costs hold, the quality of the answers may not"
        )


def _longest(length: AnyLength) -> float:
    return length.mean_tokens if length.max_tokens is None else length.max_tokens


def _longest_turn(workload: Sessions) -> float:
    return _longest(workload.question_tokens) + _longest(workload.answer_tokens)
