"""What the torch engine can serve of a scenario, and what it cannot, said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.engine import RESIDENCIES
from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions, Trace

POLICIES = ("swap", "recompute", "keep")
"""Residency policies that ask for no quotes; the engine has a clock but no prices."""

SERVED_DTYPES = {"cuda": ("bf16", "fp16"), "cpu": ("fp32", "bf16", "fp16")}
"""By kind of device; flash attention on CUDA takes no others."""


def check_served(scenario: Scenario, device: str, dtype: str) -> None:
    """Raises SpecError with everything in the scenario that the engine cannot do; see transformer.shape_of too.

    device: its kind, as devices.device_of knows it.
    """
    faults = [*_setting_faults(scenario), *_workload_faults(scenario)]
    served = SERVED_DTYPES.get(device, ())
    if served and dtype not in served:
        message = f'expected one of {", ".join(served)} on {device}, found "{shorten(dtype)}"{nearest(dtype, served)}'
        faults.append(_fault(scenario, "dtype", message))
    if faults:
        raise SpecError(*faults)


def _setting_faults(scenario: Scenario) -> Iterator[Fault]:
    deployment, serving = scenario.deployment, scenario.serving
    for name in ("replicas", "tensor_parallel", "context_parallel"):
        if getattr(deployment, name) != 1:
            message = f"expected 1, for the engine runs on one device, found {getattr(deployment, name)}; set 1"
            yield _fault(scenario, f"deployment.{name}", message)
    for name in ("decode_attention", "speculation", "early_exit"):
        if getattr(serving, name) is not None:
            yield _fault(scenario, f"serving.{name}", "expected null, which is how the engine decodes; leave it out")
    if scenario.others:
        message = f"expected no further groups, found {len(scenario.others)}; leave them out"
        yield _fault(scenario, "deployment.groups", message)
    if serving.residency not in POLICIES:
        refused = ", ".join(sorted(RESIDENCIES.keys() - set(POLICIES)))
        message = f"expected one of {', '.join(POLICIES)}, found {serving.residency}; policies that weigh costs"
        yield _fault(scenario, "serving.residency", f"{message} ({refused}) are simulated only")
    for name in ("weight_dtype", "kv_dtype"):
        if getattr(serving, name) not in ("bf16", "fp32"):
            message = f"expected bf16 or fp32 (the engine quantises nothing), found {getattr(serving, name)}; set bf16"
            yield _fault(scenario, f"serving.{name}", message)
    if serving.weight_dtype == "fp32" != serving.kv_dtype:
        message = f"expected fp32 as of the weights (the engine has one format), found {serving.kv_dtype}; set fp32"
        yield _fault(scenario, "serving.kv_dtype", message)
    if serving.host_tier != "exclusive":
        message = f"expected exclusive (the engine writes back what it evicts), found {serving.host_tier}"
        yield _fault(scenario, "serving.host_tier", f"{message}; set exclusive")
    if serving.disk_kv_capacity:
        message = f"expected 0 B (the engine swaps to host memory only), found {serving.disk_kv_capacity:g} B"
        yield _fault(scenario, "serving.disk_kv_capacity", f"{message}; set 0 B")


def _workload_faults(scenario: Scenario) -> Iterator[Fault]:
    workload = scenario.workload
    if isinstance(workload, Trace):
        message = "expected sessions or requests, whose prompts the engine can make up, found a trace"
        yield _fault(scenario, "workload.kind", f"{message}; simulate it instead")
    elif isinstance(workload, Sessions) and workload.num_sessions is None and scenario.run.horizon is None:
        message = "expected a number of sessions or run.horizon, found neither: the engine would never stop"
        yield _fault(scenario, "workload.num_sessions", f"{message}; set one, e.g. workload.num_sessions=2")


def _fault(scenario: Scenario, field: str, message: str) -> Fault:
    return Fault(scenario.path, None, None, field, message)
