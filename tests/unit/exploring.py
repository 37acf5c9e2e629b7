"""A small scenario that many points can be made of, each a few hundredths of a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctxsim.explore.plan import Goal
from ctxsim.spec.document import Document
from ctxsim.spec.scenario import Scenario, load_scenario, scenario_document

SMALL = """\
name: small
model: llama-3.1-8b
hardware: a100-80gb-sxm
deployment: {router: session_affinity}
serving: {max_num_batched_tokens: 1024, max_num_seqs: 64, host_kv_capacity: 20 GB}
workload:
  kind: sessions
  users: 6
  document_tokens: 4000
  rounds: 2
  question_tokens: 50
  answer_tokens: 40
  think_time: 5 s
slo: {ttft: 1 s, tpot: 30 ms, percentile: 90}
run: {seed: 5, horizon: 60 s}
"""

POISSON = {
    "workload": {
        "kind": "requests", "prompt_tokens": 2000, "output_tokens": 50, "num_requests": 20,
        "arrival": {"kind": "poisson", "rate": "4 /s"},
    }
}  # fmt: skip
"""Overrides that make the load one that is drawn at random."""


def small_file(folder: Path) -> Path:
    """The scenario as a file."""
    path = folder / "small.yaml"
    path.write_text(SMALL)
    return path


def small(folder: Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario."""
    return load_scenario(small_file(folder), overrides)


def document(folder: Path, overrides: Mapping[str, object] | None = None) -> Document:
    """The scenario as it is read."""
    return scenario_document(small_file(folder), overrides)


def goal(folder: Path, overrides: Mapping[str, object] | None = None, **load: float) -> Goal:
    """A plan's goal."""
    return Goal.of(document(folder, overrides), **load)  # type: ignore[arg-type]
