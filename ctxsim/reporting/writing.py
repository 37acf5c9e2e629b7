"""A report on disk: page, Markdown, drawings and data; every file whole or absent, the same bytes again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ctxsim.errors import Fault, SpecError
from ctxsim.reporting.blocks import Report, Sheet
from ctxsim.reporting.data import csv_text, write_parquet
from ctxsim.reporting.figures.style import standalone
from ctxsim.reporting.markdown import FIGURES, markdown
from ctxsim.reporting.page import html
from ctxsim.reporting.pdf import pdf
from ctxsim.reporting.sections import sections_of
from ctxsim.reporting.sections.answer import question
from ctxsim.reporting.subject import Subject
from ctxsim.reporting.words import fleet_words
from ctxsim.version import __version__

PAGE, TEXT, PAPER, DATA = "index.html", "report.md", "report.pdf", "data"
DIGITS = 16
"""Of a digest, what is enough to tell two apart."""

Writer = Callable[[Path], object]


def write_report(subject: Subject, folder: str | Path, as_pdf: bool = False) -> Path:
    """Writes the report into the folder, which is made where there is none; returns the page's path.

    Raises SpecError where the folder cannot be written to, and MissingExtraError where PDF is asked for without its
    extra.
    """
    target, report = Path(folder), compose(subject)
    try:
        for name, write in _files(report, as_pdf):
            _write_whole(target / name, write)
    except OSError as error:
        message = f"expected a folder for a report, found one that cannot be written to ({error.strerror})"
        raise SpecError(Fault(str(target), None, None, "", f"{message}; name another one")) from None
    return target / PAGE


def compose(subject: Subject) -> Report:
    """The report of a subject."""
    scenario = subject.scenario
    subtitle = f"{scenario.model.name} on {fleet_words(scenario)}, fidelity {scenario.fidelity}"
    stamp = f"ctxsim {__version__}, scenario {scenario.sha256[:DIGITS]}, seed {scenario.run.seed}"
    return Report(scenario.name, question(subject), subtitle, stamp, sections_of(subject))


def _files(report: Report, as_pdf: bool) -> Iterator[tuple[str, Writer]]:
    """Every file by its name, the page last: where it is, the others are."""
    for sheet in report.sheets:
        yield from _data(sheet)
    for panel in report.panels:
        yield f"{FIGURES}/{panel.name}.svg", partial(_text, text=standalone(panel.image))
    yield TEXT, partial(_text, text=markdown(report))
    page = html(report)
    if as_pdf:
        yield PAPER, lambda path: path.write_bytes(pdf(page))
    yield PAGE, partial(_text, text=page)


def _data(sheet: Sheet) -> Iterator[tuple[str, Writer]]:
    yield f"{DATA}/{sheet.name}.csv", partial(_text, text=csv_text(sheet))
    yield f"{DATA}/{sheet.name}.parquet", partial(write_parquet, sheet)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_whole(path: Path, write: Writer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial_path)
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)
