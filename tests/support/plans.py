"""Small planning problems drawn at random, and the cheapest fleet of their grid by trying every one."""

from __future__ import annotations

from pathlib import Path
from random import Random

from ctxsim.explore.load import with_replicas
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan import Goal, Space
from ctxsim.explore.plan.goal import meets
from ctxsim.explore.plan.prune import Design
from ctxsim.spec.scenario import Scenario, scenario_document

BASE = """\
name: small
model: llama-3.1-8b
hardware: a100-80gb-sxm
deployment: {router: ROUTER}
serving: {max_num_batched_tokens: 1024, max_num_seqs: 64, max_model_len: 131072, residency: RESIDENCY,
          host_kv_capacity: HOST, num_gpu_blocks_override: BLOCKS}
workload: {WORKLOAD}
slo: {ttft: TTFT ms, tpot: TPOT ms, percentile: PERCENTILE}
run: {seed: SEED, HORIZON}
"""


def small_goal(rng: Random, folder: Path) -> tuple[Goal, Space]:
    """A goal that a few replicas meet, or none; with a space of a few designs."""
    kind = rng.choice(["closed sessions", "closed sessions", "open sessions", "requests", "closed requests"])
    words = {
        "ROUTER": rng.choice(["session_affinity", "session_affinity", "least_loaded", "round_robin"]),
        "RESIDENCY": rng.choice(["swap", "keep", "recompute"]), "HOST": rng.choice(["0 B", "20 GB"]),
        "BLOCKS": str(rng.choice([2_000, 6_000, 30_000])), "WORKLOAD": _workload(kind, rng),
        "TTFT": str(rng.choice([300, 1_000, 4_000])), "TPOT": str(rng.choice([12, 20, 50])),
        "PERCENTILE": str(rng.choice([50, 90, 95])), "SEED": str(rng.randrange(100)),
        "HORIZON": f"horizon: {rng.choice([60, 240])} s" if "sessions" in kind else "horizon: null",
    }  # fmt: skip
    text = BASE
    for name, value in words.items():
        text = text.replace(name, value)
    path = folder / "small.yaml"
    path.write_text(text)
    space = Space.of(
        accelerators=["a100-80gb-sxm", "h100-80gb-sxm"], tensor_parallel=[1, 2],
        batch_tokens=[512, 2048], max_accelerators=rng.choice([4, 6]),
    )  # fmt: skip
    return Goal.of(scenario_document(path)), space


def _workload(kind: str, rng: Random) -> str:
    document = rng.choice(["2000", "8000", "{kind: lognormal, mean: 4000, p95: 12000, max: 40000}"])
    answer = rng.choice(["40", "150", "{kind: lognormal, mean: 60, p95: 200, max: 1000}"])
    users = rng.choice([4, 9, 14, 30])
    rate = rng.choice([0.5, 2, 6, 12])
    if "requests" in kind:
        arrival = f"{{kind: poisson, rate: {rate} /s}}"
        if kind == "closed requests":
            arrival = f"{{kind: closed, users: {users}, think_time: {rng.choice([0, 3])} s}}"
        lengths = f"prompt_tokens: {document}, output_tokens: {answer}"
        return f"kind: requests, {lengths}, arrival: {arrival}, num_requests: {rng.choice([40, 150])}"
    load = f"users: {users}" if kind == "closed sessions" else f"arrival: {{kind: poisson, rate: {rate / 4} /s}}"
    think = rng.choice(["2 s", "10 s", "{kind: exponential, mean: 5 s}"])
    turns = f"rounds: {rng.choice([1, 3, 25])}, question_tokens: 50, answer_tokens: {answer}, think_time: {think}"
    return f"kind: sessions, {load}, document_tokens: {document}, {turns}"


def exhaustive(goal: Goal, space: Space) -> tuple[float | None, dict[tuple[int, int], bool]]:
    """The price of the cheapest fleet of the grid that meets the goal, and what was found of each fleet."""
    found: dict[tuple[int, int], bool] = {}
    prices = []
    for number, setting in enumerate(space.designs()):
        scenario = goal.scenario(setting)
        if not isinstance(scenario, Scenario):
            continue
        design = Design(number, setting, scenario, 1)
        for replicas in range(1, design.most_replicas(space.most_accelerators) + 1):
            met = meets(scenario.slo, Trial(with_replicas(scenario, replicas)).run())
            found[number, replicas] = met
            if met:
                prices.append(design.usd_per_hour(replicas))
    return min(prices, default=None), found
