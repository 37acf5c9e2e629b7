"""Residency maps and cliffs in a folder: rows as CSV and Parquet, the figure as SVG."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ctxsim.explore.cliff import Cliff
from ctxsim.explore.outcomes import columns_of, flatten
from ctxsim.explore.residency import ResidencyMap
from ctxsim.explore.residency.answer import ResidencyAnswer
from ctxsim.explore.store import whole_file, write_rows
from ctxsim.reporting.figures.cliff import cliff_figure, cliff_words
from ctxsim.reporting.figures.residency_map import residency_figure, residency_words
from ctxsim.reporting.figures.style import standalone, svg

Row = Mapping[str, Any]


def write_residency(mapped: ResidencyMap, answer: ResidencyAnswer, folder: Path) -> list[Path]:
    """Writes ``residency`` (points), ``limits``, and where there are any ``machines`` and ``check``; the paths."""
    tables: dict[str, Sequence[Row]] = {
        "residency": answer.rows,
        "limits": [asdict(one) for one in answer.limits],
        "machines": [_flat(asdict(one)) for one in answer.machines],
        "check": [_flat(asdict(one)) for one in answer.check],
    }
    written = [path for name, rows in tables.items() if rows for path in _write(name, rows, folder)]
    image = standalone(svg(residency_figure(mapped), "residency", residency_words(mapped)))
    return [*written, _text(folder / "residency.svg", image)]


def write_cliff(found: Cliff, folder: Path) -> list[Path]:
    """Writes ``cliff`` (points) as CSV and Parquet and its figure; the paths."""
    written = _write("cliff", [asdict(point) for point in found.points], folder)
    return [*written, _text(folder / "cliff.svg", standalone(svg(cliff_figure(found), "cliff", cliff_words(found))))]


def _flat(row: Row) -> dict[str, Any]:
    return flatten({name: value for name, value in row.items() if value is not None})


def _write(name: str, rows: Sequence[Row], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(rows, folder / f"{name}.parquet", {"title": name})
    with whole_file(folder / f"{name}.csv") as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns_of(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return [folder / f"{name}.csv", folder / f"{name}.parquet"]


def _text(path: Path, text: str) -> Path:
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
