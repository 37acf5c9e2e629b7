"""What a report says of how far its numbers can be trusted."""

from __future__ import annotations

from typing import Any

import pytest

from ctxsim.cost.calibrated.bands import GUESS_FACTOR, beyond, family_spreads, outside, spread_ratio
from ctxsim.reporting.blocks import Sheet, Warnings, Words
from ctxsim.reporting.sections.validity import validity
from ctxsim.reporting.subject import Subject, study
from ctxsim.spec.calibration import read_calibration
from ctxsim.spec.scenario import Scenario, load_scenario

SHORT = {"run.horizon": "2 min", "workload.users": 2}


def scenario_of(**settings: Any) -> Scenario:
    return load_scenario(
        "yi-34b-50k-a100", SHORT | {name.replace("__", "."): value for name, value in settings.items()}
    )


def subject_of(scenario: Scenario) -> Subject:
    return study(scenario, ["ctxsim"], other_loads=False)


def test_peak_says_that_it_is_a_bound_and_where_better_is() -> None:
    (words,) = (block for block in validity(subject_of(scenario_of())).blocks if isinstance(block, Words))
    assert "lower bounds" in words.text
    assert "measured on this device" in words.text
    borrowed = validity(subject_of(scenario_of(hardware="h100-80gb-sxm"))).blocks[0]
    assert isinstance(borrowed, Words)
    assert "measured on h200-sxm, of the same architecture: a guess for this one" in borrowed.text
    unknown = validity(subject_of(scenario_of(hardware="b200-sxm"))).blocks[0]
    assert isinstance(unknown, Words)
    assert "There are no measurements of b200-sxm here" in unknown.text


def test_calibrated_says_which_and_how_far_by_family() -> None:
    subject = subject_of(scenario_of(fidelity="calibrated"))
    section = validity(subject)
    spreads = next(block for block in section.blocks if isinstance(block, Sheet) and block.name.startswith("spreads"))
    requests = subject.simulation.requests  # type: ignore[union-attr]
    longest = int((requests["prompt_tokens"] + requests["output_tokens"]).max())
    assert {row[0]: row[1] for row in spreads.rows} == family_spreads(subject.scenario, longest)
    file = read_calibration("a100-80gb-sxm-vllm")
    rows = {row[0]: row[2] for row in spreads.rows}
    assert rows["gemm"] == sum(fit.rows for fit in file.fits if fit.family == "gemm")
    intervals = next(block for block in section.blocks if isinstance(block, Sheet) and block.name == "intervals")
    for key, value, low, high in intervals.rows:
        assert low <= value <= high, key


def test_borrowed_calibrations_are_called_guesses() -> None:
    section = validity(subject_of(scenario_of(hardware="h100-80gb-sxm", fidelity="calibrated")))
    words = next(block for block in section.blocks if isinstance(block, Words))
    assert "a guess: h100-80gb-sxm was never measured" in words.text
    assert f"{GUESS_FACTOR:g} times the spread" in words.text
    assert any("is a guess" in text or "a guess from" in text for text in _warnings(section))


def _warnings(section: Any) -> list[str]:
    return [text for block in section.blocks if isinstance(block, Warnings) for text in block.sentences]


@pytest.mark.parametrize(("tokens", "left"), [(10_000, False), (180_000, True)])
def test_contexts_beyond_what_was_measured_are_warned_of(tokens: int, left: bool) -> None:
    scenario = scenario_of(fidelity="calibrated", workload__document_tokens=tokens, serving__kv_dtype="bf16")
    found = [one for one in outside(scenario, tokens) if one.quantity == "context_tokens"]
    assert bool(found) == left
    for one in found:
        fit = next(fit for fit in scenario.calibration.fits if (fit.family, fit.variant) == one[:2])  # type: ignore[union-attr]
        assert one.value > one.most == {name: most for name, _, most in fit.measured}["context_tokens"]
        how_far = beyond(fit, context_tokens=one.value)
        assert how_far > 0
        if fit.size == "context_tokens":
            assert one.spread_ratio == spread_ratio(fit, context_tokens=one.most)
        assert one.spread_ratio in dict(fit.size_spreads).values()
        assert one.here_ratio >= one.spread_ratio + fit.spread_growth_ratio * how_far
    if left:
        subject = subject_of(scenario)
        assert any("is above the most that was measured" in text for text in _warnings(validity(subject)))


def test_chunks_after_a_past_are_warned_of_where_only_whole_prompts_were_measured() -> None:
    chunked = scenario_of(fidelity="calibrated", workload__document_tokens=10_000, serving__max_num_batched_tokens=2048)
    (warning,) = [text for text in _warnings(validity(subject_of(chunked))) if "past_tokens" in text]
    assert "is above the most that was measured, 0; its spread is widened" in warning


def test_inside_nothing_is_said_of_ranges() -> None:
    within = scenario_of(fidelity="calibrated", workload__document_tokens=7_000, serving__max_num_batched_tokens=8192)
    assert not [text for text in _warnings(validity(subject_of(within))) if "measured, " in text]
