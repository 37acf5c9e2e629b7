"""How far the numbers can be trusted: where times come from, how far they may be off, and where that was measured."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.cost.calibrated.bands import GUESS_FACTOR, Outside, family_spreads, outside
from ctxsim.reporting.blocks import Block, Column, Section, Sheet, Warnings, Words
from ctxsim.reporting.subject import Subject
from ctxsim.reporting.words import listed, machine_words
from ctxsim.spec.calibration import CalibrationFile, read_calibration
from ctxsim.spec.scenario import Scenario

SPREADS = (
    Column("family", "family", words=True), Column("here_ratio", "spread here"),
    Column("rows", "measurements"), Column("variants", "variants", words=True),
    Column("left_out", "judged by leaving out", words=True),
)  # fmt: skip
INTERVALS = (
    Column("key", "", words=True), Column("value", "predicted"), Column("low_value", "from"),
    Column("high_value", "to"),
)  # fmt: skip


def validity(subject: Subject) -> Section:
    """The status of the profile's numbers, by family of operations, and warnings."""
    scenario = subject.scenario
    blocks: list[Block] = []
    for group in scenario.fleet:
        blocks += _of_peaks(group) if group.calibration is None else _of_fits(subject, group)
    if "intervals" in subject.analysis.keys:
        blocks.append(_intervals(subject))
    warnings = [*subject.warnings, *(words for group in scenario.fleet for words in _beyond(subject, group))]
    if warnings:
        blocks.append(Warnings(warnings))
    return Section("validity", "Validity", blocks)


def _of_peaks(group: Scenario) -> list[Block]:
    return [
        Words(
            f"{machine_words(group)}: fidelity peak. Every kernel is taken to reach the datasheet's FLOP/s or rate, "
            "which none does: times, latencies and dollars are lower bounds, sessions an hour an upper one, and no "
            f"interval can be given. {_better(group)}"
        )
    ]


def _better(group: Scenario) -> str:
    """Where calibrated times would come from."""
    known, device = group.hardware.calibration, group.hardware.name
    if known is None:
        return f"There are no measurements of {device} here: measure one with ctxsim measure, then calibrate."
    measured = read_calibration(known).hardware
    whose = "this device" if measured == device else f"{measured}, of the same architecture: a guess for this one"
    return f"With fidelity: calibrated times follow {known}, measured on {whose}."


def _of_fits(subject: Subject, group: Scenario) -> list[Block]:
    """The calibration, whose device it was measured on, and its spreads."""
    assert group.calibration is not None
    file = _file(group)
    guess = file.hardware != group.hardware.name
    what = (
        f"a guess: {group.hardware.name} was never measured, its kernels are taken to reach the same shares of peaks "
        f"as those of {file.hardware} do, with {GUESS_FACTOR:g} times the spread"
        if guess
        else f"fitted to measurements of {file.hardware}"
    )
    text = f"{machine_words(group)}: fidelity calibrated, {what}. Calibration {file.name}: {file.description}"
    return [Words(text), _spreads(subject, group, file)]


def _file(group: Scenario) -> CalibrationFile:
    """The file behind the scenario's calibration."""
    assert group.calibration is not None
    return read_calibration(group.names.calibration or group.hardware.calibration or group.calibration.name)


def _spreads(subject: Subject, group: Scenario, file: CalibrationFile) -> Sheet:
    """By family that prices something here: how far it may be off, and what that rests on."""
    here = family_spreads(group, _context(subject))
    rows = []
    for family, spread in sorted(here.items(), key=lambda pair: -pair[1]):
        fits = [fit for fit in file.fits if fit.family == family]
        variants, left_out = (
            listed(dict.fromkeys(values)) for values in zip(*((f.variant, f.left_out) for f in fits), strict=True)
        )
        rows.append([family, spread, sum(fit.rows for fit in fits), variants, left_out])
    title = f"How far times of {group.hardware.name} may be off, one standard deviation, at the shapes of this scenario"
    return Sheet(f"spreads_{group.hardware.name.replace('-', '_')}", title, SPREADS, rows)


def _context(subject: Subject) -> int:
    """The longest context that was served, or that a session begins with."""
    if subject.simulation is None or not subject.served:
        return max(1, subject.analysis.session.document_tokens)
    requests = subject.simulation.requests
    return int((requests["prompt_tokens"] + requests["output_tokens"]).max())


def _intervals(subject: Subject) -> Sheet:
    keys = subject.analysis.keys
    rows = [[key, keys[key], low, high] for key, (low, high) in keys["intervals"].items()]
    return Sheet("intervals", "Intervals of 90 % in closed form, from what fits are off by", INTERVALS, rows)


def _beyond(subject: Subject, group: Scenario) -> Iterator[str]:
    """Where the scenario leaves what was measured."""
    if group.calibration is None:
        return
    for one in outside(group, _context(subject)):
        yield _outside_words(one)


def _outside_words(one: Outside) -> str:
    side = (
        f"above the most that was measured, {one.most:,.6g}"
        if one.value > one.most
        else (f"below the least that was measured, {one.least:,.6g}")
    )
    return (
        f"{one.family} ({one.variant}): {one.quantity} of {one.value:,.6g} is {side}; its spread is widened from "
        f"{one.spread_ratio:.1%} to {one.here_ratio:.1%}"
    )
