"""Documents checked against a schema: all faults at once, each placed and worded."""

from typing import Annotated, Literal

import pytest
from pydantic import Discriminator, Field, Tag, model_validator

from ctxsim.errors import SpecError
from ctxsim.spec.document import parse_document
from ctxsim.spec.overrides import apply_overrides
from ctxsim.spec.quantity import Bytes, BytesOrAuto, BytesPerS, PerS, Seconds
from ctxsim.spec.validation import FieldError, Spec, kind_tag, shown, validate


class Steady(Spec):
    kind: Literal["steady"]
    rate: PerS


class Recorded(Spec):
    """A union member with a key named like its own kind: the tag must not be taken for the key."""

    kind: Literal["trace"]
    trace: str
    users: Annotated[int, Field(ge=1)] = 1


class Tier(Spec):
    capacity: Bytes
    bandwidth: BytesPerS


class Thing(Spec):
    name: str
    size: BytesOrAuto = "auto"
    delay: Seconds = 0.0
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    exact: bool = True
    tiers: Annotated[tuple[Tier, ...], Field(strict=False)] = ()
    named_tiers: dict[str, Tier] | None = None
    load: (
        Annotated[Annotated[Steady, Tag("<steady>")] | Annotated[Recorded, Tag("<trace>")], Discriminator(kind_tag)]
        | None
    ) = None

    @model_validator(mode="after")
    def _name_is_short(self) -> "Thing":
        if len(self.name) > 10:
            raise FieldError("name", "expected at most 10 letters, found more; shorten it")
        return self


def refusal(text, **overrides):
    document = apply_overrides(parse_document(text, "f.yaml"), overrides)
    with pytest.raises(SpecError) as caught:
        validate(Thing, document)
    return str(caught.value)


def test_a_good_document_becomes_a_frozen_hashable_value_in_si():
    text = "name: x\nsize: 80 GiB\ndelay: 2 min\ntiers: [{capacity: 1 TB, bandwidth: 400 Gb/s}]\n"
    thing = validate(Thing, parse_document(text, "f.yaml"))
    assert (thing.size, thing.delay, thing.tiers[0].bandwidth) == (80 * 2**30, 120, 50e9)
    assert hash(thing.tiers[0]) == hash(Tier(capacity="1 TB", bandwidth="50 GB/s"))
    with pytest.raises(ValueError, match="frozen"):
        thing.name = "y"


def test_quantities_are_written_back_as_text_that_parses_to_the_same():
    tier = Tier(capacity="80 GiB", bandwidth="1 GiB/s")
    assert Tier(**tier.model_dump(mode="json")) == tier


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: 1 B\n", "f.yaml:1:1: name: expected a value, found nothing; this key is required"),
        ("name: 3\n", "f.yaml:1:7: name: expected text, found 3"),
        ("name: x\nnmae: y\n", 'f.yaml:2:1: nmae: expected a known key, found "nmae"; did you mean "name"?'),
        (
            "name: x\nzzz: y\n",
            'f.yaml:2:1: zzz: expected a known key, found "zzz"; '
            "known: delay, exact, load, name, named_tiers, ratio, size, tiers",
        ),
        ("name: x\nratio: 0\n", "f.yaml:2:8: ratio: expected a number above 0, found 0"),
        ("name: x\nratio: 1.5\n", "f.yaml:2:8: ratio: expected a number of at most 1, found 1.5"),
        ("name: x\nratio: true\n", "f.yaml:2:8: ratio: expected a number, found true"),
        ("name: x\nratio: .nan\n", "f.yaml:2:8: ratio: expected a finite number, found nan"),
        ("name: x\nratio: '1'\n", 'f.yaml:2:8: ratio: expected a number, found "1"'),
        ("name: x\nexact: 1\n", "f.yaml:2:8: exact: expected true or false, found 1"),
        ("name: x\ntiers: 4 GB\n", 'f.yaml:2:8: tiers: expected a list, found "4 GB"'),
        ("name: x\ntiers: [4 GB]\n", 'f.yaml:2:9: tiers[0]: expected a mapping of keys to values, found "4 GB"'),
        (
            "name: x\ndelay: 5\n",
            'f.yaml:2:8: delay: expected a duration with its unit, found 5 without one; write e.g. "60 s"',
        ),
        ("name: x\ndelay:\n", 'f.yaml:2:1: delay: expected a duration, found nothing; write e.g. "60 s"'),
        (
            "name: x\nsize: big\n",
            'f.yaml:2:7: size: expected auto or an amount of bytes as a number with its unit, found "big"; '
            'write e.g. "80 GiB"',
        ),
        (
            "name: x\ntiers:\n  - capacity: 1 TB\n    bandwith: 2 GB/s\n    bandwidth: 0 GB/s\n",
            'f.yaml:4:5: tiers[0].bandwith: expected a known key, found "bandwith"; did you mean "bandwidth"?\n'
            "f.yaml:5:16: tiers[0].bandwidth: expected a rate in bytes or bits per second above zero, "
            'found "0 GB/s"; write e.g. "2 TB/s"',
        ),
        (
            "name: x\nnamed_tiers: {ddr: {capacity: 1 TB, bandwidth: 1 TB}}\n",
            "f.yaml:2:48: named_tiers.ddr.bandwidth: expected a rate in bytes or bits per second, "
            'found "TB", which is an amount of bytes; did you mean "TB/s"?',
        ),
        (
            "name: x\nload: {kind: stedy, rate: 2 /s}\n",
            'f.yaml:2:14: load.kind: expected one of steady, trace, found "stedy"; did you mean "steady"?',
        ),
        (
            "name: x\nload: {rate: 2 /s}\n",
            "f.yaml:2:7: load.kind: expected a value, found nothing; this key is required",
        ),
        ("name: x\nload: {kind: 3}\n", "f.yaml:2:14: load.kind: expected a kind as text, found 3"),
        ("name: x\nload: 3\n", "f.yaml:2:7: load: expected a mapping with a kind, found 3"),
        ("name: x\nload: {kind: trace, trace: 3}\n", "f.yaml:2:28: load.trace: expected text, found 3"),
        (
            "name: x\nload: {kind: trace, trace: a, user: 3}\n",
            'f.yaml:2:31: load.user: expected a known key, found "user"; did you mean "users"?',
        ),
        ("name: much-too-long\n", "f.yaml:1:7: name: expected at most 10 letters, found more; shorten it"),
    ],
)
def test_a_fault_says_where_what_was_wanted_what_was_there_and_what_would_do(text, message):
    assert refusal(text) == message


def test_all_faults_come_at_once_in_the_order_of_the_file():
    text = "ratio: 2\nload: {kind: trace, users: 0}\ndelay: 3\nnmae: x\n"
    assert [line.split(":")[1] for line in refusal(text).splitlines()] == ["1", "1", "2", "2", "3", "4"]


def test_an_overridden_field_is_named_by_its_override():
    text = "name: x\nload: {kind: trace, trace: a, users: 2}\n"
    assert refusal(text, **{"load.users": "0", "ratio": "2"}) == (
        "--set load.users=0: load.users: expected a number of at least 1, found 0\n"
        "--set ratio=2: ratio: expected a number of at most 1, found 2"
    )


def test_an_override_of_a_union_member_named_like_its_tag_works():
    text = "name: x\nload: {kind: trace, trace: a}\n"
    document = apply_overrides(parse_document(text, "f.yaml"), {"load.trace": "/data/b c.jsonl"})
    assert validate(Thing, document).load.trace == "/data/b c.jsonl"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), ("a\n", '"a\\n"'), ({}, "a mapping"), ([], "a list"), (2.5, "2.5")],
)
def test_values_are_quoted_as_a_reader_knows_them(value, text):
    assert shown(value) == text
