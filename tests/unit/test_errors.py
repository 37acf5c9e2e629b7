"""The wording that every error shares, and the exit code of each kind."""

import pytest

from ctxsim.errors import CtxsimError, Fault, InfeasibleError, MissingExtraError, SpecError, nearest, shorten


def test_a_fault_names_file_line_column_and_field():
    fault = Fault("s.yaml", 4, 8, "serving.block_size", "expected a whole number, found 2.5")
    assert str(fault) == "s.yaml:4:8: serving.block_size: expected a whole number, found 2.5"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("s.yaml", None, None, "", "m"), "s.yaml: m"),
        (Fault("s.yaml", 2, None, "", "m"), "s.yaml:2: m"),
        (Fault("", None, None, "model", "m"), "model: m"),
        (Fault("--set a.b=c", None, None, "a.b", "m"), "--set a.b=c: a.b: m"),
        (Fault("", None, None, "", "m"), "m"),
    ],
)
def test_unknown_parts_of_a_fault_are_left_out(fault, text):
    assert str(fault) == text


def test_a_spec_error_prints_every_fault_on_its_own_line():
    error = SpecError(Fault("a", 1, 1, "x", "one"), Fault("a", 2, 1, "y", "two"))
    assert str(error) == "a:1:1: x: one\na:2:1: y: two"
    assert [fault.field for fault in error.faults] == ["x", "y"]


def test_exit_codes_are_those_of_the_design():
    codes = [kind.exit_code for kind in (CtxsimError, SpecError, InfeasibleError, MissingExtraError)]
    assert codes == [1, 2, 3, 5]


def test_an_infeasible_error_carries_its_reason():
    assert InfeasibleError("weights need 68.0 GB").reason == "weights need 68.0 GB"


def test_a_missing_extra_names_the_command_that_installs_it():
    assert str(MissingExtraError("fit", "calibrate")) == (
        'calibrate needs the extra "fit"; install it with: pip install "ctxsim[fit]"'
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("residancy", '; did you mean "residency"?'),
        ("RESIDENCY", '; did you mean "residency"?'),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_nearest_suggests_only_what_is_close(word, expected):
    assert nearest(word, ["residency", "router"]) == expected


def test_shorten_cuts_long_text_and_escapes_the_unprintable():
    assert shorten("a" * 100) == "a" * 57 + "..."
    assert shorten("a\nb\x1b") == "a\\nb\\x1b"
    assert shorten("\ud83d").isprintable()
