"""What is loaded when: heavy libraries only by the commands and calls that need them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from command_line import ROOT, environment, process

import ctxsim

HEAVY = {"pandas", "matplotlib", "torch", "scipy", "simpy", "pyarrow"}
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def loaded_by(*words: str) -> set[str]:
    """Top-level packages that a command line loads, by the interpreter's own account."""
    run = process(words, "-X", "importtime")
    assert run.returncode == 0, run.stderr[-500:]
    names = {name.partition(".")[0] for name in IMPORTED.findall(run.stderr)}
    assert "ctxsim" in names
    return names


def loaded_after(statements: str) -> set[str]:
    """Top-level packages that are loaded once the statements have run in a fresh interpreter."""
    code = f"{statements}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    return set(run.stdout.split())


def test_help_loads_only_the_command_line():
    names = loaded_by("--help")
    assert not names & (HEAVY | {"numpy", "pydantic", "ruamel", "rich"})
    assert "typer" in names


@pytest.mark.parametrize("form", [(), ("--json",), ("--show-work",)])
def test_analyze_loads_neither_tables_nor_the_simulator(form):
    names = loaded_by("analyze", "paper-34b-50k", *form)
    assert not names & (HEAVY | {"numpy"})
    assert "pydantic" in names


def test_simulate_without_out_loads_no_table_library():
    assert not loaded_by("simulate", "mooncake-replay") & {"pandas", "pyarrow", "matplotlib", "scipy", "torch"}


def test_typer_alone_is_imported_never_click():
    assert "click" not in loaded_by("analyze", "--help")


def test_importing_the_package_loads_nothing():
    assert not loaded_after("import ctxsim") & (HEAVY | {"numpy", "pydantic", "typer", "ruamel"})


def test_the_python_interface_loads_no_table_library_before_a_table_is_asked_for():
    assert not loaded_after("import ctxsim; ctxsim.analyze(ctxsim.load('paper-34b-50k'))") & HEAVY
    simulate = "import ctxsim; r = ctxsim.simulate(ctxsim.load('mooncake-replay'))"
    assert not loaded_after(simulate) & {"pandas", "pyarrow", "matplotlib", "scipy"}
    assert "pandas" in loaded_after(f"{simulate}; r.requests")


def test_public_names_are_loaded_on_use():
    from ctxsim import analysis
    from ctxsim.api import calls, deciding, economics, mapping, roads, storage

    assert ctxsim.load is calls.load
    assert ctxsim.analyze is calls.analyze
    assert ctxsim.analyze_grid is analysis.analyze_grid
    assert ctxsim.simulate is calls.simulate
    assert ctxsim.load_result is storage.load_result
    assert ctxsim.plan is deciding.plan
    assert ctxsim.explain is economics.explain
    assert ctxsim.residency is mapping.residency
    assert ctxsim.cliff is mapping.cliff
    assert ctxsim.frontier is roads.frontier
    calls_and_more = {"analyze", "analyze_grid", "load", "load_result", "plan", "sensitivity", "simulate", "sweep"}
    maps = {"cliff", "cost_curve", "explain", "frontier", "residency"}
    assert set(dir(ctxsim)) == {"__version__", "whatif", *maps, *calls_and_more}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ctxsim' has no attribute 'sweeep'"):
        _ = ctxsim.sweeep


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project.get("version", ctxsim.__version__) == ctxsim.__version__
    assert project["scripts"]["ctxsim"] == "ctxsim.cli:main"
