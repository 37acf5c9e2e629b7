"""The first screen: the question, the answer, the numbers to take away, and what to know before relying on them."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.explore.load import load_of
from ctxsim.human import human
from ctxsim.reporting.blocks import Block, Labelled, Number, Numbers, Section, Warnings, Words
from ctxsim.reporting.names import LATENCY, RESOURCES, factor_words
from ctxsim.reporting.planned import Fleet, Planned
from ctxsim.reporting.subject import Subject
from ctxsim.reporting.words import fleet_words, limits_words, listed, machine_words, missed_words, task_words, usd
from ctxsim.units import SECONDS_PER_HOUR, show

PERCENT = 100


def question(subject: Subject) -> str:
    """What was asked, as the title."""
    task, model = task_words(subject), subject.scenario.model.name
    if subject.plan is not None:
        return f"What is the cheapest fleet for {task} on {model} within {limits_words(subject.scenario.slo)}?"
    fleet = fleet_words(subject.scenario)
    if subject.has_slo:
        return f"Can {fleet} serve {task} on {model} within {limits_words(subject.scenario.slo)}?"
    return f"What does a fleet of {fleet} give {task} on {model}?"


def answer(subject: Subject) -> Section:
    """The answer in a sentence, the big numbers, what binds and what breaks first."""
    blocks: list[Block] = [Words(_sentence(subject), lead=True)]
    if subject.served:
        blocks.append(Numbers([*_throughput(subject), *_latencies(subject), *_of_plan(subject)]))
    blocks.append(Labelled(dict(_facts(subject))))
    if subject.warnings:
        blocks.append(Warnings(subject.warnings))
    return Section("answer", "Answer", blocks)


def _sentence(subject: Subject) -> str:
    if not subject.analysis.feasible:
        return f"It does not fit: {subject.analysis.keys['infeasible_reason']}."
    if not subject.served:
        return "Nothing was served: every request was refused."
    if subject.plan is not None:
        return f"{_fleet_name(subject)}, for {subject.plan.chosen.usd_per_hour:,.2f} USD an hour."
    if not subject.has_slo:
        return f"{human('n', subject.summary['sessions_per_hour'])} sessions an hour."
    gate = subject.gate
    missed = [name for name in LATENCY if f"{name}_s" in gate and not gate[f"{name}_s"]["met"]]
    found = {name: gate[f"{name}_s"]["found_s"] for name in LATENCY if f"{name}_s" in gate}
    if not missed:
        return f"Yes: {_met(subject, found)}."
    return f"No: {missed_words(missed, found, subject.scenario.slo)}."


def _fleet_name(subject: Subject) -> str:
    words = fleet_words(subject.scenario)
    return words[0].upper() + words[1:]


def _met(subject: Subject, found: dict[str, float | None]) -> str:
    percentile = f"p{subject.scenario.slo.percentile:g}"
    return listed(f"{LATENCY[name]} {percentile} is {human('found_s', value)}" for name, value in found.items())


def _throughput(subject: Subject) -> Iterator[Number]:
    summary, keys = subject.summary, subject.analysis.keys
    most = human("n", keys["sessions_per_hour_bound"])
    binds = RESOURCES[keys["bottleneck"]]
    per_hour = human("n", summary["sessions_per_hour"])
    yield Number("Sessions an hour", per_hour, f"at most {most} in closed form, where {binds} would bind")
    price = (
        usd(summary["money"]["bill_usd"] / summary["duration_s"] * SECONDS_PER_HOUR) if summary["duration_s"] else "-"
    )
    yield Number("A session", usd(summary["cost_usd_per_session"]), f"the fleet is {price} an hour")


def _latencies(subject: Subject) -> Iterator[Number]:
    """At the SLO's percentile where it limits them, else at the 95th."""
    gate, percentile = subject.gate, subject.scenario.slo.percentile
    for name, words in LATENCY.items():
        limited = gate.get(f"{name}_s")
        if limited is None:
            yield Number(f"{words} p95", human("s_s", subject.summary[f"{name}_s"]["p95"]), "no limit was given")
            continue
        state = "met" if limited["met"] else "missed"
        remark = f"limit {show(limited['limit_s'], 'seconds')}: {state}"
        yield Number(f"{words} p{percentile:g}", human("found_s", limited["found_s"]), remark, state)


def _of_plan(subject: Subject) -> Iterator[Number]:
    plan = subject.plan
    if plan is None:
        return
    sure = plan.confidence
    what = "runs of other draws and errors of fits" if sure["errors"] else "runs of other draws"
    drawn = sure["low_ratio"] is not None
    remark = f"{what} meet the SLO" if drawn else "nothing is drawn at random: every run is the same"
    yield Number("Confidence", f"{sure['met']} of {sure['runs']}" if drawn else "no draws", remark)
    room = plan.saturation_load / load_of(subject.scenario) - 1
    remark = f"within the SLO, {room:+.0%} on what was asked"
    yield Number("Serves up to", f"{plan.saturation_load:,g} {subject.load_unit}", remark)


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    """What binds, what breaks first, and what a plan has to say beside."""
    yield "What binds", _binds(subject)
    if subject.has_slo and subject.curve:
        yield "What breaks first", _breaks(subject)
    plan = subject.plan
    if plan is not None:
        yield "Runner-up", _runner_up(plan)
        yield "Confidence", confidence_words(plan, subject.scenario.fidelity)
        yield "Half the cost", _halving(plan)
    yield "Checked how far", _fidelity(subject)


def _binds(subject: Subject) -> str:
    keys = subject.analysis.keys
    bound = f"{human('n', keys['sessions_per_hour_bound'])} sessions an hour"
    words = f"In closed form {RESOURCES[keys['bottleneck']]}: no schedule gives more than {bound}."
    if not subject.served:
        return words
    reached = subject.summary["sessions_per_hour"] / keys["sessions_per_hour_bound"]
    return f"{words} The simulation reaches {reached:.0%} of that; {utilisation_words(subject.summary)}."


def utilisation_words(row: dict[str, float | dict[str, float]]) -> str:
    """How busy the resources are: ``FLOP/s 17 % used, HBM bandwidth 53 %, ...``."""
    used = row["kv_used_ratio"]
    peak = used["peak"] if isinstance(used, dict) else used
    return (
        f"it uses {row['mfu_ratio']:.0%} of the FLOP/s and {row['mbu_ratio']:.0%} of the HBM bandwidth, "
        f"the KV pool is up to {peak:.0%} full, the host links are busy {row['link_busy_ratio']:.0%} of the time"
    )


def _breaks(subject: Subject) -> str:
    point = subject.breaks
    assert subject.curve is not None
    if point is None:
        return f"Nothing up to {subject.curve[-1].load:,g} {subject.load_unit}, the largest load that was tried."
    found = {"ttft": point.ttft_s, "tpot": point.tpot_s}
    row = point.row | {"kv_used_ratio": {"peak": point.row["kv_used_peak_ratio"]}}
    missed = missed_words(point.missed, found, subject.scenario.slo)
    at = f"{point.load:,g} {subject.load_unit}, the least load tried that misses the SLO"
    return f"At {at}, {missed}; {utilisation_words(row)}."


def _runner_up(plan: Planned) -> str:
    other = plan.runner_up
    if other is None:
        return "None: no other machine meets the SLO within the accelerators allowed."
    more = other.usd_per_hour / plan.chosen.usd_per_hour - 1
    price = f"{other.usd_per_hour:,.2f} USD an hour ({more:+.1%})"
    return f"{plan.name(other)} for {price}: {_found(other)}."


def _found(fleet: Fleet) -> str:
    found = fleet.found
    parts = [
        f"{words} {human('found_s', found[f'slo_found_{name}_s'])}"
        for name, words in LATENCY.items()
        if f"slo_found_{name}_s" in found
    ]
    return f"{', '.join(parts)}, {usd(found.get('cost_usd_per_session'))} a session"


def confidence_words(plan: Planned, fidelity: str) -> str:
    """How likely the SLO holds, and what that covers."""
    sure = plan.confidence
    if sure["low_ratio"] is None:
        met = "meets" if sure["met"] else "misses"
        words = f"Nothing in the workload is drawn at random, so every run is the same and {met} the SLO"
    else:
        low, high = (f"{sure[name] * PERCENT:.0f}" for name in ("low_ratio", "high_ratio"))
        words = f"{sure['met']} of {sure['runs']} runs meet the SLO, {low} to {high} % of all at 95 % confidence"
    if sure["errors"]:
        return f"{words}; draws and the errors of the calibration's fits are varied."
    return f"{words}. At fidelity {fidelity} times are lower bounds, which no confidence here covers."


def _halving(plan: Planned) -> str:
    """What a replica would need to serve twice its load; prices apart, that alone halves the cost."""
    if not plan.halving:
        return "The fleet would serve twice the load as it is, and so it is as small as it can be."
    enough = [f"{factor_words(name)} x {factor:.3g}" for name, factor in plan.halving.items() if factor is not None]
    never = [factor_words(name) for name, factor in plan.halving.items() if factor is None]
    twice = "A replica would serve twice its load, so that half of the fleet does, with"
    words = [f"{twice} {' or '.join(enough)}" if enough else "No single number makes a replica serve twice its load"]
    if never:
        words.append(f"not even eight times better {listed(never)} alone would do")
    return f"{'; '.join(words)}."


def _fidelity(subject: Subject) -> str:
    scenario = subject.scenario
    if scenario.calibration is None:
        return (
            f"Times are the datasheet peaks of {machine_words(scenario)}: a lower bound that no measurement backs. "
            "Real kernels are slower, so real latencies and costs are higher."
        )
    guess = scenario.calibration.hardware != scenario.hardware.name
    where = f"a guess from {scenario.calibration.hardware}" if guess else "fitted to measurements"
    return f"Times are {where} (calibration {scenario.calibration_name}); see Validity for how far they may be off."
