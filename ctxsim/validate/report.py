"""All checks of predictions against measurements, as sections of one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ctxsim.errors import Fault, SpecError, nearest
from ctxsim.validate.kernels import kernel_checks
from ctxsim.validate.layers import layer_checks
from ctxsim.validate.own import engine_checks, own_kernel_checks
from ctxsim.validate.page import Section, html, markdown, meanings
from ctxsim.validate.rtx import run_checks
from ctxsim.validate.servers import server_checks
from ctxsim.validate.splitwise import splitwise_checks
from ctxsim.validate.targets import target_table
from ctxsim.validate.workers import Spread, spreading

TITLE = "Validation"
SUMMARY = (
    "What was to be reached and what was, from the tables below. Written whole by ctxsim validate --data DIR -o DIR; "
    "nothing here is typed in by hand."
)

Places = Mapping[str, Path | None]
"""Folders by the first word of a need: ``data`` (outside tables), ``measurements`` (own); None where not given."""


@dataclass(frozen=True, slots=True)
class Check:
    """One source of measurements: its name, the files or folders it needs, and the sections that come of them.

    needs: ``<place>/<path>``, see Places; ``sections`` is called with the first of them where all are there.
    """

    name: str
    needs: tuple[str, ...]
    sections: Callable[[Path, Spread], list[Section]]


_A100, _H200 = "data/kernels/aiconfigurator/a100_sxm", "data/kernels/aiconfigurator/h200_sxm"
_VIDUR = "data/kernels/vidur"
_RTX = "data/serving/llmservingsim/RTXPRO6000/Llama-3.1-8B"
CHECKS: tuple[Check, ...] = (
    Check("kernels-a100", ("data/kernels", _A100), partial(kernel_checks, "a100-80gb-sxm-vllm")),
    Check("kernels-h200", ("data/kernels", _H200), partial(kernel_checks, "h200-sxm-vllm")),
    Check("kernels-vidur", ("data/kernels", _VIDUR), partial(kernel_checks, "a100-80gb-sxm-vidur")),
    Check("kernels-rtx", ("data/kernels", _RTX), partial(kernel_checks, "rtx-pro-6000-vllm")),
    Check("kernels-own", ("measurements/.",), own_kernel_checks),
    Check("layers-vidur", (_VIDUR,), layer_checks),
    Check("servers-h200", ("data/serving/silicon_e2e/h200_sxm.csv",), server_checks),
    Check("server-rtx", (_RTX,), run_checks),
    Check("engine", ("measurements/.",), engine_checks),
    Check("splitwise", ("data/serving/splitwise/perf_model.csv",), splitwise_checks),
)
"""In the order of the page."""


def sections(places: Places, only: Sequence[str] = (), workers: int = 1) -> list[Section]:
    """The page: a summary of targets, then every check that has what it needs, then what was left out and why.

    only: names of checks, () for all. The same whatever the number of worker processes. Raises SpecError for a name
    that no check has.
    """
    chosen = _chosen(only)
    missing = {check.name: lacking for check in chosen if (lacking := _lacking(check, places))}
    with spreading(workers) as spread:
        found = [
            section
            for check in chosen
            if check.name not in missing
            for section in check.sections(_place(check.needs[0], places), spread)
        ]
    return [*_summary(found), *found, *_left_out(missing)]


def write_pages(found: Sequence[Section], folder: Path) -> list[Path]:
    """``validation.md`` and ``validation.html``; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [folder / "validation.md", folder / "validation.html"]
    pages[0].write_text(markdown(TITLE, found), encoding="utf-8")
    pages[1].write_text(html(TITLE, found), encoding="utf-8")
    return pages


def _summary(found: Sequence[Section]) -> Iterator[Section]:
    targets = [target for section in found for target in section.targets]
    if targets:
        met = sum(target.met for target in targets)
        yield Section("Targets", f"{SUMMARY} {met} of {len(targets)} are met.", target_table(targets))
    yield Section("How to read the tables", meanings())


def _left_out(missing: Mapping[str, str]) -> Iterator[Section]:
    if missing:
        yield Section("Left out", "; ".join(f"{name}: {lacking}" for name, lacking in missing.items()) + ".")


def _chosen(only: Sequence[str]) -> list[Check]:
    names = [check.name for check in CHECKS]
    for name in only:
        if name not in names:
            message = f"expected one of {', '.join(names)}, found {name}{nearest(name, names)}"
            raise SpecError(Fault("", None, None, "only", message))
    return [check for check in CHECKS if not only or check.name in only]


def _lacking(check: Check, places: Places) -> str:
    """What the check needs and does not find, in words; empty where it has all."""
    for need in check.needs:
        where, _, _ = need.partition("/")
        if places.get(where) is None:
            return f"expected {need}, found no folder of {where}"
        if not _place(need, places).exists():
            return f"expected {need}, found none"
    return ""


def _place(need: str, places: Places) -> Path:
    where, _, path = need.partition("/")
    folder = places[where]
    assert folder is not None
    return folder / path
