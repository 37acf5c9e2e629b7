"""How the report was made, so that it can be made again."""

from __future__ import annotations

import platform
import shlex
from importlib.metadata import version

from ctxsim.reporting.blocks import Block, Code, Labelled, Section
from ctxsim.reporting.subject import Subject
from ctxsim.spec.scenario import COST_MODEL_VERSION
from ctxsim.version import __version__

BUILT_WITH = ("numpy", "simpy", "matplotlib")
"""Packages whose versions may move digits or drawings."""


def origin(subject: Subject) -> Section:
    """Commands, seed, versions, digest, and the scenario with every default written out."""
    scenario = subject.scenario
    seed = scenario.run.seed if subject.simulation is None else subject.simulation.seed
    made = {
        "Scenario": scenario.name,
        "Digest": f"SHA-256 {scenario.sha256} of all resolved contents and the cost model",
        "Seed": str(seed),
        "Versions": f"ctxsim {__version__}, cost model {COST_MODEL_VERSION}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in BUILT_WITH),
        "Data": "every table of this page, and what its curves were drawn from, lies in data/ as CSV and Parquet",
    }
    commands = [shlex.join(subject.command)]
    if subject.plan is not None:
        commands.insert(0, f"{shlex.join(subject.plan.command)} --json > plan.json")
    blocks: list[Block] = [
        Code("Made with", "\n".join(commands)),
        Labelled(made),
        Code("The scenario with every default", scenario.to_yaml().rstrip(), folded=True),
    ]
    return Section("origin", "How this was made", blocks)
