"""The notebooks run from their first cell to their last, and the ipynb beside each has the same cells."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
CELL = re.compile(r"^# %%(?: \[markdown\])?\n", re.M)


def cells_of(script: Path) -> list[str]:
    texts = CELL.split(script.read_text(encoding="utf-8"))[1:]
    return [re.sub(r"^# ?", "", text, flags=re.M).strip() if text.startswith("#") else text.strip() for text in texts]


def test_there_are_four():
    assert len(SCRIPTS) == 4


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs(script, monkeypatch):
    monkeypatch.chdir(FOLDER)
    with mpl.rc_context({"backend": "agg"}):
        assert "ctxsim" in runpy.run_path(str(script))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_ipynb_has_the_cells_of_the_script_and_what_they_gave(script):
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert ["".join(cell["source"]).strip() for cell in notebook["cells"]] == cells_of(script)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code)
    pictures = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == script.read_text(encoding="utf-8").count(".plot.")
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
