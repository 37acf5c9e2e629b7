"""Scale-up domains: the accelerators that one scale-up link joins, and how a replica lies over several of them.

A replica that one domain does not hold fills whole ones, as collectives over several use every accelerator's own NIC.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.spec.hardware import Hardware
from ctxsim.spec.serving import Deployment

MOST_DOMAINS = 8
"""On so many a replica is looked for that holds what is wished; a scenario may name more."""


@dataclass(frozen=True, slots=True)
class Domains:
    """How a replica lies over scale-up domains.

    together: accelerators of a tensor-parallel group within one domain. of_group: domains that such a group fills.
    of_context: sets of domains over which the groups that divide a context lie; 1 where one domain holds them all.
    """

    together: int
    of_group: int
    of_context: int

    @classmethod
    def of(cls, deployment: Deployment, hardware: Hardware) -> Domains:
        """Those of a replica that ``joined`` allows."""
        ranks, most = deployment.tensor_parallel, hardware.max_accelerators
        if ranks > most:
            return cls(most, ranks // most, deployment.context_parallel)
        return cls(ranks, 1, -(-deployment.ranks // most))


def joined(tensor_parallel: int, context_parallel: int, hardware: Hardware) -> bool:
    """Whether replicas can have so many tensor-parallel groups of so many accelerators on that machine."""
    accelerators, most = tensor_parallel * context_parallel, hardware.max_accelerators
    if accelerators <= most:
        return True
    return hardware.scale_out_bytes_per_s is not None and fills_domains(tensor_parallel, accelerators, most)


def fills_domains(group: int, accelerators: int, domain: int) -> bool:
    """Whether groups of one size, so many accelerators in all, fill domains of a size: each several, or several one."""
    return accelerators % domain == 0 and (group % domain == 0 or domain % group == 0)
