"""Documents that are asked about again: the workloads behind the cliffs and the ladder of docs/residency.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.records import Table
from ctxsim.sim.cluster import Cluster
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.workload.demand import Demand

MODEL_KV_BYTES_PER_TOKEN = 131_072
"""Llama-3.1-8B in bf16: 32 layers x 8 heads x 128 x 2 x 2 bytes."""

DOCUMENT_TOKENS = 16_000
DOCUMENT_BYTES = DOCUMENT_TOKENS * MODEL_KV_BYTES_PER_TOKEN
BLOCK_TOKENS = 16


@dataclass(frozen=True)
class Asked:
    """Requests in order of arrival, each the whole of one document; nothing waits for an answer."""

    arrivals_s: np.ndarray
    documents: np.ndarray
    answer_tokens: int

    warnings: tuple[str, ...] = ()
    releases: bool = False

    @property
    def num_requests(self) -> int:
        return len(self.documents)

    def initial(self) -> Iterator[Demand]:
        asked: dict[int, int] = {}
        for index, (arrival_s, document) in enumerate(zip(self.arrivals_s, self.documents, strict=True)):
            turn = asked.get(int(document), 0)
            asked[int(document)] = turn + 1
            known = DOCUMENT_TOKENS if turn else 0
            yield Demand(
                index, float(arrival_s), DOCUMENT_TOKENS, self.answer_tokens, int(document), turn, known, last=False
            )

    def after(self, demand: Demand, finished_s: float) -> tuple[Demand, ...]:
        return ()


def in_turn(documents: int, passes: int, gap_s: float) -> Asked:
    """Every document once in order, then all again, one at a time: a token is enough of an answer."""
    which = np.tile(np.arange(documents), passes)
    return Asked(np.arange(len(which)) * gap_s, which, answer_tokens=1)


def at_random(documents: int, requests: int, rate_per_s: float, seed: int) -> Asked:
    """Poisson arrivals, each for any of the documents."""
    rng = np.random.default_rng(seed)
    arrivals_s = np.cumsum(rng.exponential(1 / rate_per_s, requests))
    return Asked(arrivals_s, rng.integers(0, documents, requests), answer_tokens=64)


def engine(hbm_documents: float, host_documents: float, residency: str, host_tier: str = "exclusive") -> Scenario:
    """Llama-3.1-8B on one A100 80GB with room for so many documents in HBM and in host memory."""
    return load_scenario(
        "llama-8b-chat",
        {
            # Two blocks more: the token that is asked for, and the block it opens.
            "serving.num_gpu_blocks_override": int(hbm_documents * DOCUMENT_TOKENS / BLOCK_TOKENS) + 2,
            "serving.residency": residency,
            "serving.host_tier": host_tier,
            "serving.host_kv_capacity": f"{int(host_documents * DOCUMENT_BYTES)} B",
        },
    )


def ask(scenario: Scenario, asked: Asked) -> tuple[Table, Cluster]:
    """The requests in order of arrival, and the cluster that served them."""
    cluster = Cluster(scenario, CostModel(scenario), asked)
    requests = cluster.run().requests.table()
    order = np.argsort(requests["request"])
    return Table({name: column[order] for name, column in requests.columns.items()}), cluster
