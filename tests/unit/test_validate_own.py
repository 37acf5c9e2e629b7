"""Reported runs of the engine on the page of validation."""

from __future__ import annotations

import json

from ctxsim.validate.own import engine_checks, own_kernel_checks


def report(folder, name, error):
    row = {"quantity": "ttft_s", "count": 3, "mean_error_ratio": error, "p90_error_ratio": -0.1}
    about = {"scenario": name, "words": f"words of {name}.", "quantities": [row, row | {"quantity": "e2e_s"}]}
    (folder / f"engine-{name}.json").write_text(json.dumps(about), encoding="utf-8")


def serially(function, items):
    return [function(item) for item in items]


def test_every_run_is_a_row_and_its_latencies_have_targets(tmp_path):
    report(tmp_path, "first", -0.079)
    report(tmp_path, "second", 0.081)
    (section,) = engine_checks(tmp_path, serially)
    assert list(section.table["scenario"]) == ["first", "first", "second", "second"]
    assert "engine-first: words of first. engine-second: words of second." in section.words
    found = {target.what: (target.found, target.met) for target in section.targets}
    assert found == {
        "engine-first: mean of ttft_s": ("7.9 %", True),
        "engine-first: p90 of ttft_s": ("10.0 %", True),
        "engine-second: mean of ttft_s": ("8.1 %", False),
        "engine-second: p90 of ttft_s": ("10.0 %", True),
    }


def test_nothing_measured_is_no_section(tmp_path):
    assert engine_checks(tmp_path, serially) == []
    assert own_kernel_checks(tmp_path, serially) == []
