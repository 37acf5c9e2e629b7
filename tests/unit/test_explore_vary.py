"""What is varied: values, ranges, keys together, Sobol sequences, and how wrong words are refused."""

from __future__ import annotations

import pytest

from ctxsim.errors import SpecError
from ctxsim.explore import grid_points, parse_axis, sobol_points
from ctxsim.explore.vary import parse_change, settings_text


def values(text):
    return [row[0] for row in parse_axis(text).values]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k=bf16,fp8", ["bf16", "fp8"]),
        ("k=1, 2.5 ,true,null", [1, 2.5, True, None]),
        ("k=5:20:4", [5, 10, 15, 20]),
        ("k=1:2:3", [1, 2]),  # whole ends: rounded to whole numbers, and said once
        ("k=0.5:1.5:3", [0.5, 1.0, 1.5]),
        ("k=log:1:64:7", [1, 2, 4, 8, 16, 32, 64]),
        ("k=log:0.1:10:3", [0.1, 1.0, 10.0]),
        ("k=1 TB/s:4 TB/s:4", ["1 TB/s", "2 TB/s", "3 TB/s", "4 TB/s"]),
        ("k=10:40 ms:4", ["10 ms", "20 ms", "30 ms", "40 ms"]),
        ("k={kind: poisson, rate: 2 /s},{kind: constant, rate: 2 /s}",
         ["{kind: poisson, rate: 2 /s}", "{kind: constant, rate: 2 /s}"]),
        ("k=[cla(a=1, b=2)],[]", ["[cla(a=1, b=2)]", "[]"]),
        ("k=C:/folder/file.yaml", ["C:/folder/file.yaml"]),
        ("k=-1:1:3", [-1, 0, 1]),
    ],
)  # fmt: skip
def test_values_of_one_key(text, expected):
    found = values(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_keys_that_go_together():
    axis = parse_axis("hardware;deployment.tensor_parallel=a100-80gb-sxm;2,h100-80gb-sxm;1")
    assert axis.keys == ("hardware", "deployment.tensor_parallel")
    assert axis.values == (("a100-80gb-sxm", 2), ("h100-80gb-sxm", 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k", "expected KEY=VALUES"),
        ("k=", "expected KEY=VALUES"),
        ("=1", "expected KEY=VALUES"),
        ("a;a=1;2", "expected each key once"),
        ("a;b=1;2,3", "found 1 values for 2 keys"),
        ("k=1,1", "expected each value once"),
        ("k=5:1:3", "expected the lower end first, found 5 and 1"),
        ("k=log:0:1:3", "two ends above zero"),
        ("k=1:9:1", 'expected two or more values, found "1"'),
        ("k=1:9:x", 'expected two or more values, found "x"'),
        ("k=log:a:b", "expected log:LO:HI"),
        ("k=1 GB:2 TB:3", "expected one unit at both ends, found GB and TB"),
    ],
)
def test_wrong_words_are_refused_with_what_would_do(text, said):
    with pytest.raises(SpecError) as caught:
        parse_axis(text)
    assert said in str(caught.value)
    assert "--vary" in str(caught.value)


def test_a_grid_is_every_combination_the_last_key_fastest():
    points = grid_points([parse_axis("a=1,2"), parse_axis("b;c=x;3,y;4")])
    assert points == [
        (("a", 1), ("b", "x"), ("c", 3)), (("a", 1), ("b", "y"), ("c", 4)),
        (("a", 2), ("b", "x"), ("c", 3)), (("a", 2), ("b", "y"), ("c", 4)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ([], "found nothing"),
        (["a=1,2", "a=3"], "vary it once"),
        (["a=1:9"], "say how many"),
        (["a=1:10000:10000", "b=1:10000:10000"], "expected at most 1,000,000 points, found 100,000,000"),
    ],
)
def test_a_grid_that_is_none_is_refused(axes, said):
    with pytest.raises(SpecError, match=said):
        grid_points([parse_axis(text) for text in axes])


def test_a_sobol_sequence_fills_its_axes_evenly_and_follows_from_the_seed():
    axes = [parse_axis("a=0.0:1.0"), parse_axis("b=log:1:1024"), parse_axis("c=x,y,z,w")]
    points = sobol_points(axes, 64, 3)
    assert points == sobol_points(axes, 64, 3) != sobol_points(axes, 64, 4)
    columns = [[dict(point)[key] for point in points] for key in "abc"]
    # A net in base 2: every eighth of a range holds as many points, every listed value its equal part.
    assert [sum(i / 8 <= a < (i + 1) / 8 for a in columns[0]) for i in range(8)] == [8] * 8
    assert {letter: columns[2].count(letter) for letter in "xyzw"} == dict.fromkeys("xyzw", 16)
    assert all(isinstance(b, int) and 1 <= b <= 1024 for b in columns[1])
    assert len(sobol_points(axes, 5, 3)) == 5


def test_a_change_is_keys_and_values():
    assert parse_change("a.b=1;c={x: 1; y: 2}") == {"a.b": "1", "c": "{x: 1; y: 2}"}
    assert settings_text((("a", 1), ("b", "x"))) == "a=1;b=x"


@pytest.mark.parametrize(
    ("text", "said"), [("a", "expected KEY=VALUE"), ("a=1;a=2", "found a again"), ("", "KEY=VALUE")]
)
def test_a_change_that_is_none_is_refused(text, said):
    with pytest.raises(SpecError, match=said):
        parse_change(text)
