"""What must hold between the parts of a scenario: between settings and model, hardware, workload and files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from ctxsim.errors import Fault, shorten
from ctxsim.spec.document import Document
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.lengths import AnyLength
from ctxsim.spec.model import Attention, ModelSpec, StateMixer
from ctxsim.spec.scenario_file import ScenarioFile
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.workload import Requests, Sessions, Trace, Workload
from ctxsim.units import show


def support_faults(file: ScenarioFile, document: Document) -> Iterator[Fault]:
    """Settings that are well formed but that this version does not model."""
    if file.techniques:
        wanted = "expected no techniques (this version ships none)"
        yield document.fault(("techniques",), f"{wanted}, found {', '.join(file.techniques)}; write techniques: []")
    if file.fidelity == "calibrated":
        wanted = f"expected peak (the profile {file.hardware} carries no measured efficiency curves)"
        yield document.fault(("fidelity",), f'{wanted}, found "calibrated"; write fidelity: peak')


def model_faults(deployment: Deployment, model: ModelSpec, document: Document) -> Iterator[Fault]:
    """A tensor-parallel degree that does not split the attention heads of every layer evenly."""
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
    yield document.fault(("deployment", "tensor_parallel"), f"{message}; {would_do}")


def hardware_faults(deployment: Deployment, hardware: Hardware, document: Document) -> Iterator[Fault]:
    """A tensor-parallel group that is larger than the scale-up link joins."""
    shards, most = deployment.tensor_parallel, hardware.max_accelerators
    if shards > most:
        message = f"expected at most {most} (what the scale-up link of {hardware.name} joins), found {shards}"
        yield document.fault(("deployment", "tensor_parallel"), f"{message}; lower it and add replicas")


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


def warnings_of(serving: Serving, model: ModelSpec, hardware: Hardware) -> Iterator[str]:
    """What is unusual, but may be meant."""
    window = model.max_context_tokens
    if serving.max_model_len is not None and serving.max_model_len > window:
        yield (
            f"serving.max_model_len {serving.max_model_len} is beyond the {window} tokens that {model.name} "
            "was made for: the costs hold, the quality of the answers may not"
        )
    if serving.host_kv_capacity > hardware.host_memory_bytes:
        asked = show(serving.host_kv_capacity, "bytes")
        yield (
            f"serving.host_kv_capacity {asked} is more than the {show(hardware.host_memory_bytes, 'bytes')} "
            f"of memory of a node of {hardware.host_name}"
        )


def _longest(length: AnyLength) -> float:
    return length.mean_tokens if length.max_tokens is None else length.max_tokens


def _longest_turn(workload: Sessions) -> float:
    return _longest(workload.question_tokens) + _longest(workload.answer_tokens)
