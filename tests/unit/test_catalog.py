"""Shipped names and paths become files; unknown names are refused with the nearest."""

from pathlib import Path

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.catalog import FOLDERS, find, is_path, names


@pytest.mark.parametrize("kind", ["hardware", "host", "model", "scenario"])
def test_every_shipped_name_is_found_and_names_its_file(kind):
    assert names(kind) == sorted(names(kind))
    assert names(kind)
    for name in names(kind):
        path = find(kind, name)
        assert path.is_file()
        assert path.stem == name


def test_hosts_are_no_accelerators():
    assert not set(names("hardware")) & set(names("host"))


@pytest.mark.parametrize("text", ["./my.yaml", "sub/config", "config.json", "no-such-folder/x.yaml"])
def test_what_looks_like_a_path_is_taken_as_one(text):
    assert is_path(text)
    assert find("model", text) == Path(text)


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper-a100").mkdir()
    assert find("hardware", "paper-a100").is_file()


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "hardware",
            "a100-80gb-smx",
            'hardware: expected the name of a hardware profile or a path to its file, found "a100-80gb-smx"; '
            'did you mean "a100-80gb-sxm"?',
        ),
        (
            "hardware",
            "a100-80gb",
            'hardware: expected the name of a hardware profile or a path to its file, found "a100-80gb"; '
            'did you mean "a100-80gb-sxm" or "a100-80gb-pcie" or "h100-80gb-sxm"?',
        ),
        (
            "scenario",
            "paper-34b-50",
            'scenario: expected the name of a scenario or a path to its file, found "paper-34b-50"; '
            'did you mean "paper-34b-50k"?',
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(kind, name, message):
    with pytest.raises(SpecError) as caught:
        find(kind, name)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", sorted(FOLDERS))
def test_a_name_close_to_none_is_refused_with_all_that_are_known(kind):
    with pytest.raises(SpecError) as caught:
        find(kind, "q?")
    assert str(caught.value).endswith(f"; known: {', '.join(names(kind)) or 'none'}")
