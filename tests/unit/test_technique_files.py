"""Files of techniques and how they are written in a scenario: what is read, and how faults are worded."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.techniques import REST, technique_file

from ctxsim.errors import SpecError
from ctxsim.spec.techniques import load_technique, parse_written

EFFECT = "kind: window, sink_tokens: $sinks, window_tokens: 100, prefill: full"


def refusal(written: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_technique(written)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("cla", ("cla", {})),
        ("cla(layers_per_group=4)", ("cla", {"layers_per_group": 4})),
        (" a/b.yaml( x = 0.5 , y=word )", ("a/b.yaml", {"x": 0.5, "y": "word"})),
        ("cla()", ("cla", {})),
    ],
)
def test_a_name_with_parameters_is_read(written: str, found: object) -> None:
    assert parse_written(written) == found


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("window(sink_tokens=4", 'expected name or name(key=value,key=value), found "window(sink_tokens=4"; quote it'),
        ("cla(4)", 'expected key=value, found "4" in "cla(4)"'),
        ("cla(a=1,a=2)", 'expected each parameter once, found "a=2" in "cla(a=1,a=2)"'),
        ("claa", 'expected the name of a technique or a path to its file, found "claa"; did you mean "cla"?'),
        ("cla(layers_per_grup=4)", 'expected a parameter of cla, found "layers_per_grup"; did you mean'),
        ("cla(layers_per_group=-4)", "cla(layers_per_group=-4): effects[0].layers_per_group: expected a number of at"),
        ("cla(layers_per_group=two)", "expected a whole number, found"),
    ],
)
def test_what_is_written_wrongly_is_refused(written: str, words: str) -> None:
    assert words in refusal(written)


def test_parameters_stand_where_their_names_are(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", EFFECT, parameters="{sinks: 4}")
    assert load_technique(path).file.effects[0].sink_tokens == 4
    assert load_technique(f"{path}(sinks=7)").file.effects[0].sink_tokens == 7
    assert load_technique(f"{path}(sinks=7)").parameters == {"sinks": 7}
    nested = technique_file(
        tmp_path, "nested", "kind: set, setting: speculation, value: {draft: {layers: $n}}", parameters="{n: 3}"
    )
    assert load_technique(nested).file.effects[0].value == {"draft": {"layers": 3}}


def test_faults_of_a_file_are_placed(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", EFFECT.replace("$sinks", "$sink"), parameters="{sinks: 4}")
    assert f"{path}:5:" in refusal(path)
    assert 'expected a parameter after $, found "$sink"; did you mean "sinks"?' in refusal(path)
    unknown = technique_file(tmp_path, "unknown", "kind: windows, prefill: full")
    assert "effects[0].kind: expected one of kv_heads, latent, " in refusal(unknown)
    assert 'did you mean "window"?' in refusal(unknown)
    other = tmp_path / "other.yaml"
    other.write_text((tmp_path / "unknown.yaml").read_text().replace("windows, prefill: full", "evict"))
    assert "expected either keep_ratio or budget_tokens" in refusal(str(other))


def test_a_file_is_called_as_it_says(tmp_path: Path) -> None:
    technique_file(tmp_path, "mine", "kind: evict, keep_ratio: 0.5")
    (tmp_path / "mine.yaml").rename(tmp_path / "yours.yaml")
    assert 'name: expected "yours", as the file is called, found "mine"' in refusal(str(tmp_path / "yours.yaml"))


def test_the_identity_is_said_or_explained(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", "kind: evict, keep_ratio: $keep", parameters="{keep: 0.5}")
    text = (tmp_path / "mine.yaml").read_text()
    assert "identity_note" in REST
    (tmp_path / "mine.yaml").write_text(text.replace("identity_note: it is for a test\n", ""))
    assert "identity: expected parameters at which it changes nothing, or identity_note" in refusal(path)
    (tmp_path / "mine.yaml").write_text(text.replace("identity_note: it is for a test", "identity: {kep: 1}"))
    assert 'expected parameters of the technique, found "kep"; did you mean "keep"?' in refusal(path)


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("kind: hybrid, full_every: 2, other: sliding", "expected a number of tokens beside other: sliding"),
        ("kind: hybrid, full_every: 2, other: linear, window_tokens: 5", "and none beside other: linear"),
        ("kind: evict, keep_ratio: 0", "expected a number above 0, found 0"),
        ("kind: kv_format, format: int5", "expected one of bf16, fp32, fp8, int8, int4, int4_scale, kivi2"),
        ("kind: window, window_tokens: 5", "prefill: expected a value, found nothing; this key is required"),
    ],
)
def test_effects_are_checked(tmp_path: Path, effect: str, words: str) -> None:
    assert words in refusal(technique_file(tmp_path, "mine", effect))
