"""Quantities as text: exact values, every way to spell one wrong, and the way back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.units import DIMENSIONS, UnitError, exact, parse, show, tokens


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("80 GiB", "bytes", 80 * 2**30),
        ("80GB", "bytes", 80e9),
        ("  1.5e3 kB ", "bytes", 1.5e6),
        ("0 B", "bytes", 0),
        ("2 TB/s", "bytes_per_s", 2e12),
        ("400 Gb/s", "bytes_per_s", 50e9),
        ("400 GB/s", "bytes_per_s", 400e9),
        ("1 GiB/s", "bytes_per_s", 2**30),
        ("312 TFLOP/s", "flop_per_s", 312e12),
        ("624 TOP/s", "flop_per_s", 624e12),
        ("4 hours", "seconds", 14400),
        ("100 ms", "seconds", 0.1),
        ("3 /min", "per_s", 0.05),
        ("0.2/s", "per_s", 0.2),
        ("2.50 USD/hour", "usd_per_s", 2.5 / 3600),
        ("0.004 USD/GiB/hour", "usd_per_byte_s", 0.004 / 2**30 / 3600),
        ("0.12 USD/kWh", "usd_per_joule", 0.12 / 3.6e6),
        ("400 W", "watts", 400),
        ("2 kWh", "joules", 7.2e6),
    ],
)
def test_a_quantity_becomes_its_si_value(text, dimension, expected):
    assert parse(text, dimension) == pytest.approx(expected, rel=1e-15)


def test_bits_and_bytes_are_eight_apart():
    assert 8 * parse("1 Gb/s", "bytes_per_s") == parse("1 GB/s", "bytes_per_s")


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("", "bytes", 'expected an amount of bytes, found nothing; write e.g. "80 GiB"'),
        ("80", "bytes", 'expected an amount of bytes with its unit, found 80 without one; write e.g. "80 GiB"'),
        ("-5 GiB", "bytes", 'expected an amount of bytes of at least zero, found "-5 GiB"; write e.g. "80 GiB"'),
        ("nan GiB", "bytes", 'expected an amount of bytes of finite size, found "nan GiB"; write e.g. "80 GiB"'),
        (".inf", "seconds", 'expected a duration of finite size, found ".inf"; write e.g. "60 s"'),
        ("1e400 B", "bytes", 'expected an amount of bytes of finite size, found "1e400 B"; write e.g. "80 GiB"'),
        (
            "many GB",
            "bytes",
            'expected an amount of bytes as a number with its unit, found "many GB"; write e.g. "80 GiB"',
        ),
        (
            "1_000 GB",
            "bytes",
            'expected an amount of bytes as a number with its unit, found "1_000 GB"; write e.g. "80 GiB"',
        ),
        (
            "2 TB",
            "bytes_per_s",
            'expected a rate in bytes or bits per second, found "TB", '
            'which is an amount of bytes; did you mean "TB/s"?',
        ),
        (
            "2 TB/s",
            "bytes",
            'expected an amount of bytes, found "TB/s", '
            'which is a rate in bytes or bits per second; did you mean "TB"?',
        ),
        (
            "2 GBps",
            "bytes_per_s",
            'expected a rate in bytes or bits per second, found the unknown unit "GBps"; did you mean "GB/s"?',
        ),
        (
            "2 Gbps",
            "bytes_per_s",
            'expected a rate in bytes or bits per second, found the unknown unit "Gbps"; did you mean "Gb/s"?',
        ),
        (
            "2 gbps",
            "bytes_per_s",
            'expected a rate in bytes or bits per second, found the unknown unit "gbps"; '
            'did you mean "GB/s" or "Gb/s"?',
        ),
        (
            "2 Gb",
            "bytes_per_s",
            'expected a rate in bytes or bits per second, found the unknown unit "Gb"; did you mean "Gb/s"?',
        ),
        ("2 gb", "bytes", 'expected an amount of bytes, found the unknown unit "gb"; did you mean "GB"?'),
        ("2 GIB", "bytes", 'expected an amount of bytes, found the unknown unit "GIB"; did you mean "GiB"?'),
        (
            "3 TFLOPS",
            "flop_per_s",
            'expected a rate of operations, found the unknown unit "TFLOPS"; did you mean "TFLOP/s"?',
        ),
        (
            "3 TFLOPs/sec",
            "flop_per_s",
            'expected a rate of operations, found the unknown unit "TFLOPs/sec"; did you mean "TFLOP/s"?',
        ),
        (
            "2 $/hour",
            "usd_per_s",
            'expected a price per time, found the unknown unit "$/hour"; did you mean "USD/hour"?',
        ),
        ("2 h", "seconds", 'expected a duration, found the unknown unit "h"; did you mean "hour"?'),
        ("2 sec", "seconds", 'expected a duration, found the unknown unit "sec"; did you mean "s"?'),
        ("2 weeks", "seconds", 'expected a duration, found the unknown unit "weeks"; write e.g. "60 s"'),
    ],
)
def test_a_wrong_quantity_is_refused_with_what_would_do(text, dimension, message):
    with pytest.raises(UnitError) as caught:
        parse(text, dimension)
    assert str(caught.value) == message


@given(st.text(max_size=30), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_a_finite_quantity_or_a_unit_error(text, dimension):
    try:
        value = parse(text, dimension)
    except UnitError:
        return
    assert value >= 0
    assert math.isfinite(value)


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.sampled_from(sorted(DIMENSIONS)))
def test_exact_text_parses_back_to_the_same_float(value, dimension):
    assert parse(exact(value, dimension), dimension) == value


@pytest.mark.parametrize("dimension", sorted(DIMENSIONS))
def test_every_dimension_has_an_example_that_parses_and_shown_units_that_exist(dimension):
    kind = DIMENSIONS[dimension]
    assert parse(kind.example, dimension) > 0
    assert set(kind.shown) <= set(kind.units)
    assert kind.units[kind.si_unit] == 1


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (12.288e9, "bytes", "12.29 GB"),
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (2.039e12, "bytes_per_s", "2.039 TB/s"),
        (0.0498, "seconds", "49.8 ms"),
        (1793.2, "seconds", "1,793 s"),
        (2.5 / 3600, "usd_per_s", "2.5 USD/hour"),
        (0.004 / 2**30 / 3600, "usd_per_byte_s", "0.004 USD/GiB/hour"),
        (0.05, "per_s", "180 /hour"),
        (312e12, "flop_per_s", "312 TFLOP/s"),
    ],
)
def test_show_picks_a_unit_that_fits(value, dimension, text):
    assert show(value, dimension) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4k", 4_000), ("4K", 4_000), ("1m", 1_000_000), ("1.5M", 1_500_000), ("128Ki", 131_072), ("1Mi", 2**20),
     (" 4096 ", 4_096), ("50 k", 50_000)],
)  # fmt: skip
def test_tokens_may_have_a_prefix(text, expected):
    assert tokens(text) == expected


@pytest.mark.parametrize("text", ["", "k", "0", "-4k", "1.5", "4.0001k", "4 GB", "4ki", "1e3", "4kk", "nan"])
def test_tokens_are_a_whole_number_above_zero(text):
    with pytest.raises(UnitError, match="expected a whole number of tokens"):
        tokens(text)
