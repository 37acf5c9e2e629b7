"""Files as data with positions: what is read, where it stood, and how every broken file is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.errors import SpecError
from ctxsim.spec.document import parse_document, plain_scalar, read_document
from ctxsim.spec.overrides import apply_overrides


def refusal(text):
    with pytest.raises(SpecError) as caught:
        parse_document(text, "f.yaml")
    return str(caught.value)


def test_values_and_keys_keep_their_line_and_column():
    document = parse_document("a: 1\nb:\n  c: [x, {d: 2}]\n", "f.yaml")
    assert document.data == {"a": 1, "b": {"c": ["x", {"d": 2}]}}
    assert document.position(("b", "c", 1, "d")) == (3, 14)
    assert document.keys[("b", "c")] == (3, 3)


def test_the_position_of_what_is_missing_is_that_of_what_is_around_it():
    document = parse_document("a: 1\nb:\n  c: 2\n", "f.yaml")
    assert document.position(("b", "missing")) == (3, 3)
    assert document.position(("missing",)) == (1, 1)


def test_json_is_read_with_positions_too():
    document = parse_document('{\n\t"a": [1e3, null],\n\t"b": "\\ud83d\\ude00"\n}', "f.json")
    assert document.data["a"] == [1000.0, None]
    assert document.position(("b",)) == (3, 7)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("NO", "NO"),
        ("12:30:45", "12:30:45"),
        ("010", 10),
        ("1e15", 1e15),
        ("1_000", "1_000"),
        ("2026-08-17", "2026-08-17"),
        ("true", True),
        ("~", None),
        ("0x10", "0x10"),
        ("-.5", -0.5),
        ("80 GiB", "80 GiB"),
        (".inf", float("inf")),
    ],
)
def test_words_mean_what_yaml_1_2_says(word, value):
    assert plain_scalar(word) == value
    assert parse_document(f"a: {word}", "f").data["a"] == value


def test_quoted_words_stay_text():
    assert parse_document("a: '12'\nb: \"true\"\nc: |\n  5\n", "f").data == {"a": "12", "b": "true", "c": "5\n"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: expected a mapping of keys to values, found an empty file"),
        ("# only words\n", "f.yaml: expected a mapping of keys to values, found an empty file"),
        (
            "- 1\n- 2\n",
            "f.yaml:1:1: expected a mapping of keys to values at the top level, found a list; write e.g. name: my-name",
        ),
        (
            "hello\n",
            'f.yaml:1:1: expected a mapping of keys to values at the top level, found "hello"; '
            "write e.g. name: my-name",
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            'f.yaml:3:1: a: expected each key once, found "a" again (first on line 1); keep one of them',
        ),
        ("a: [1\nb: 2\n", "f.yaml:2:2: expected YAML or JSON, found wrong syntax: expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: expected YAML or JSON, found wrong syntax: but found another document"),
        (
            "a: &x 1\nb: *x\n",
            "f.yaml:2:1: b: expected a value, found an alias (*name) of another one; write the value out",
        ),
        (
            "a: &x [*x]\n",
            "f.yaml:1:4: a[0]: expected a value, found an alias (*name) of another one; write the value out",
        ),
        (
            "? [1, 2]\n: 3\n",
            "f.yaml:1:3: expected a word as a key, found a list or mapping; write e.g. name: value",
        ),
        (
            "---\n%YAML 9.9\n",
            "f.yaml: expected YAML or JSON, found wrong syntax: the parser cannot read it ((9, 9))",
        ),
        ("a: " + "[" * 5000, "f.yaml: expected a few levels of nesting, found too many"),
    ],
)
def test_a_broken_text_is_refused_at_its_place(text, message):
    assert refusal(text) == message


def test_every_duplicate_key_is_reported_at_once():
    assert len(refusal("a: 1\na: 2\nb: {c: 1, c: 2}\n").splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a mapping of keys to values, found an empty file"),
        (b"\x7fELF\x00\x01", "expected UTF-8 text (YAML or JSON), found binary data"),
        (b"a: \xff\xfe", "expected UTF-8 text (YAML or JSON), found binary data"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_document(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path, found in ((tmp_path / "no.yaml", "none of that name; check the path"), (tmp_path, "a folder; name a")):
        with pytest.raises(SpecError) as caught:
            read_document(path)
        assert f"{path}: expected a file, found {found}" in str(caught.value)


def test_an_override_sets_a_value_and_is_named_by_its_faults():
    document = parse_document("a: {b: 1}\nc: 2\n", "f.yaml")
    changed = apply_overrides(document, {"a.b": "80 GiB", "c": "{d: 3, e: [x]}", "new.deep": 5})
    assert changed.data == {"a": {"b": "80 GiB"}, "c": {"d": 3, "e": ["x"]}, "new": {"deep": 5}}
    assert str(changed.fault(("a", "b"), "m")) == "--set a.b=80 GiB: a.b: m"
    assert str(changed.fault(("c", "d"), "m")) == "--set c={d: 3, e: [x]}: c.d: m"
    assert str(changed.fault(("a",), "m")) == "f.yaml:1:4: a: m"
    assert document.data == {"a": {"b": 1}, "c": 2}


def test_an_override_reaches_into_lists():
    document = parse_document("a: [{b: 1}, {b: 2}]\n", "f.yaml")
    assert apply_overrides(document, {"a.1.b": "7"}).data == {"a": [{"b": 1}, {"b": 7}]}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "a.b",
            "1",
            "--set a.b=1: a.b: expected a mapping at a, found a single value; set a whole",
        ),
        ("a", "[1", "--set a=[1: expected YAML or JSON, found wrong syntax: expected ',' or ']', but got "),
        ("l.2", "3", "--set l.2=3: l.2: expected a mapping at l, found a list of 2; set l whole"),
        ("", "3", "--set =3: expected a dotted name, found an empty one; write e.g. serving.kv_dtype"),
    ],
)
def test_an_override_that_cannot_be_set_is_refused(name, value, message):
    with pytest.raises(SpecError) as caught:
        apply_overrides(parse_document("a: 1\nl: [1, 2]\n", "f.yaml"), {name: value})
    assert str(caught.value).startswith(message)


def test_every_override_that_cannot_be_set_is_reported_at_once():
    with pytest.raises(SpecError) as caught:
        apply_overrides(parse_document("a: 1\n", "f.yaml"), {"a.b": 1, "a.c": 2, "": 3})
    assert len(caught.value.faults) == 3


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_spec_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content)
    try:
        read_document(path)
    except SpecError as error:
        assert error.faults  # noqa: PT017


YAML_PIECES = [": ", "- ", "\n", "  ", "{", "}", "[", "]", "&a ", "*a", "!!int ", "!t ", "|", ">", "'", '"', "#", "? "]
YAML_PIECES += [
    "---\n",
    "%YAML 9.9\n",
    "%TAG ! x\n",
    "<<",
    "\\x",
    "\\u12",
    "\t",
    "a",
    "1",
    ".nan",
    "é",
    "...\n",
    "@",
    "`",
]


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=25).map("".join))
def test_any_text_of_yaml_pieces_is_a_document_or_a_spec_error(text):
    try:
        document = parse_document(text, "f.yaml")
    except SpecError as error:
        assert error.faults  # noqa: PT017
    else:
        assert isinstance(document.data, dict)


def test_what_overrides_bring_is_theirs():
    given = {"a": {"b": {"c": 1}}}
    document = apply_overrides(parse_document("x: 1\n", "f.yaml"), {**given, "a.b.c": 2})
    assert document.data["a"] == {"b": {"c": 2}}
    assert given == {"a": {"b": {"c": 1}}}


def test_a_document_that_was_read_is_not_changed_by_what_is_set_over_it():
    text = "a: {b: [1, {c: 2}]}\n"
    first = parse_document(text, "f.yaml")
    apply_overrides(first, {"a.b.1.c": 3})
    assert parse_document(text, "f.yaml") is first
    assert first.data == {"a": {"b": [1, {"c": 2}]}}
