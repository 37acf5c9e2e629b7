"""A stack of techniques: in which order, what is written down of it, and what two cannot both change."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.techniques import REST, applied, subject_of, technique_file

from ctxsim.errors import SpecError
from ctxsim.spec.digest import sha256_of
from ctxsim.spec.techniques import StackError, load_technique

YI = "yi-34b-200k"
WINDOW = "kind: window, window_tokens: {}, prefill: full"


def refused(*written: str) -> StackError:
    with pytest.raises(StackError) as caught:
        applied(YI, *written)
    return caught.value


def test_what_changes_nothing_is_not_among_the_applied(tmp_path: Path) -> None:
    halved = technique_file(tmp_path, "halved", "kind: evict, keep_ratio: 0.5")
    whole = technique_file(tmp_path, "whole", "kind: evict, keep_ratio: 1.0")
    found = applied(YI, whole, halved).applied
    assert [one.name for one in found] == ["halved"]
    # The digest is of everything that the effects say, and of nothing else.
    effect = {"kind": "evict", "keep_ratio": 0.5, "budget_tokens": None}
    assert found[0].effects_sha256 == sha256_of([effect])
    other = technique_file(tmp_path, "other", "kind: evict, keep_ratio: 0.25")
    assert applied(YI, other).applied[0].effects_sha256 != found[0].effects_sha256
    assert applied(YI, whole).subject == subject_of(YI)


def test_settings_that_were_set_are_named(tmp_path: Path) -> None:
    effects = "kind: set, setting: block_size, value: 32", "kind: set, setting: deployment.replicas, value: 3"
    assert applied(YI, technique_file(tmp_path, "both", *effects)).set_fields == {
        ("serving", "block_size"),
        ("deployment", "replicas"),
    }
    assert applied(YI, technique_file(tmp_path, "none", WINDOW.format(100))).set_fields == frozenset()


def test_the_place_is_where_the_fault_was_written(tmp_path: Path) -> None:
    mine, other = (technique_file(tmp_path, name, WINDOW.format(100)) for name in ("mine", "other"))
    twice = refused(mine, other, mine)
    assert (str(twice), twice.place) == ("expected each technique once, found it twice; leave one out", 2)
    heads = technique_file(tmp_path, "heads", "kind: kv_heads, num_kv_heads: 3", dimension="head")
    divisor = "expected a divisor of the 8 KV heads of yi-34b-200k, found 3"
    alone = refused(mine, heads)
    assert (str(alone), alone.place) == (divisor, 1)
    # Beside what has changed the model already: weights before hybrids, hybrids before heads.
    hybrid = technique_file(
        tmp_path, "hybrid", "kind: hybrid, full_every: 2, other: sliding, window_tokens: 100", dimension="hybrid"
    )
    beside = refused(heads, hybrid)
    assert (str(beside), beside.place) == (f"{divisor} (beside hybrid)", 0)


def test_two_cannot_change_the_same(tmp_path: Path) -> None:
    def setting(name: str, key: str, value: int) -> str:
        return technique_file(tmp_path, name, f"kind: set, setting: {key}, value: {value}")

    small, large = setting("small", "block_size", 32), setting("large", "block_size", 64)
    assert str(refused(small, large)) == "large changes the setting block_size already; use one of them"
    serving = applied(YI, small, setting("seqs", "max_num_seqs", 7)).subject.serving
    assert (serving.block_size, serving.max_num_seqs) == (32, 7)
    # One that sets what is set already changes nothing.
    assert [one.name for one in applied(YI, small, setting("zsame", "block_size", 32)).applied] == ["small"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_within_a_dimension_the_kinds_have_an_order(tmp_path: Path, names: tuple[str, str]) -> None:
    """Heads are shared before windows are cut, whatever the files are called and however they are written."""
    first = technique_file(tmp_path, names[0], "kind: kv_heads, num_kv_heads: 2", WINDOW.format(100))
    second = technique_file(tmp_path, names[1], "kind: kv_format, format: fp8")
    for written in ((first, second), (second, first)):
        assert [one.name for one in applied(YI, *written).applied] == list(names)


@pytest.mark.parametrize("missing", ["effects", "sources"])
def test_a_file_has_an_effect_and_a_source(tmp_path: Path, missing: str) -> None:
    path = technique_file(tmp_path, "mine", WINDOW.format(100))
    text = (tmp_path / "mine.yaml").read_text()
    effects = f"effects:\n  - {{{WINDOW.format(100)}}}\n"
    assert effects in text
    assert "sources: [test]" in REST
    empty = text.replace(effects, "effects: []\n") if missing == "effects" else text.replace("[test]", "[]")
    (tmp_path / "mine.yaml").write_text(empty)
    with pytest.raises(SpecError) as caught:
        load_technique(path)
    assert f"{missing}: expected at least one, found none" in str(caught.value)


def test_parameters_of_an_identity_are_named_where_none_is_near(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", WINDOW.format(100), parameters="{keep: 1}")
    text = (tmp_path / "mine.yaml").read_text()
    for parameters, known in (("{keep: 1}", "keep"), ("{}", "none")):
        new = text.replace("{keep: 1}", parameters)
        new = new.replace("identity_note: it is for a test", "identity: {qqq: 1}")
        (tmp_path / "mine.yaml").write_text(new)
        with pytest.raises(SpecError) as caught:
            load_technique(path)
        assert f'found "qqq"; known: {known}' in str(caught.value)


def test_a_window_without_sinks_is_its_last_tokens(tmp_path: Path) -> None:
    model = applied(YI, technique_file(tmp_path, "mine", WINDOW.format(100))).subject.model
    assert {layer.mixer.keeping.tokens for layer in model.layers} == {100}
    heads = technique_file(tmp_path, "heads", "kind: split_heads, full_ratio: 0.5, window_tokens: 100")
    split = applied(YI, heads).subject.model
    assert {(layer.mixer.keeping.head_window.tokens, layer.mixer.keeping.head_window.kv_heads)
            for layer in split.layers} == {(100, 4)}  # fmt: skip


def test_what_is_found_in_place_of_full_attention_is_named(tmp_path: Path) -> None:
    path = technique_file(tmp_path, "mine", "kind: decoder_decoder, window_tokens: 9", dimension="layer")
    for model, found in (("deepseek-v3", "latent attention"), ("minimax-text-01", "a linear layer")):
        with pytest.raises(StackError, match=f"in every layer of {model}, found {found}$"):
            applied(model, path)


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.25), (0.25, 0.5)])
def test_of_two_shares_the_smaller_counts(tmp_path: Path, first: float, second: float) -> None:
    written = [technique_file(tmp_path, n, f"kind: evict, keep_ratio: {r}") for n, r in (("a", first), ("b", second))]
    assert {layer.mixer.keeping.ratio for layer in applied(YI, *written).subject.model.layers} == {0.25}


@pytest.mark.parametrize(("first", "second"), [(500, 300), (300, 500)])
def test_of_two_budgets_and_windows_the_smaller_counts(tmp_path: Path, first: int, second: int) -> None:
    effects = "kind: evict, budget_tokens: {}", WINDOW
    for one in effects:
        for other in effects:
            a = technique_file(tmp_path, "a", one.format(first))
            b = technique_file(tmp_path, "b", other.format(second))
            assert {layer.mixer.keeping.tokens for layer in applied(YI, a, b).subject.model.layers} == {300}


def test_what_needs_the_whole_context_is_refused_where_it_is_not_there(tmp_path: Path) -> None:
    window = technique_file(tmp_path, "window", WINDOW.format(100))
    evict = technique_file(tmp_path, "evict", "kind: evict, keep_ratio: 0.5")
    select = "kind: select, top_k_tokens: 9, page_tokens: 3, metadata_values_per_page: 1"
    heads = "kind: split_heads, full_ratio: 0.5, window_tokens: 100"
    pattern = technique_file(
        tmp_path, "zpattern", "kind: attention_pattern, pattern: combiner_fixed, region_tokens: 9", dimension="kernel"
    )
    for other in (window, evict, technique_file(tmp_path, "select", select), technique_file(tmp_path, "heads", heads)):
        assert "regions are of a whole context, and here some of it is dropped or skipped" in str(
            refused(other, pattern)
        )
    for path in (window, evict, technique_file(tmp_path, "select", select)):
        with pytest.raises(StackError, match="its layers have an indexer, which chooses from the whole context"):
            applied("deepseek-v3.2", path)
    # Where every layer has a window already, no heads are left to divide.
    windowed = technique_file(tmp_path, "awindow", WINDOW.format(100).replace("full", "windowed"), dimension="layer")
    late = technique_file(tmp_path, "heads", heads)
    assert f"{YI} has no layer of full attention (beside awindow)" in str(refused(windowed, late))


def test_tables_are_of_softmax_attention(tmp_path: Path) -> None:
    linear = technique_file(tmp_path, "linear", "kind: hybrid, full_every: 2, other: linear", dimension="hybrid")
    tables = technique_file(tmp_path, "tables", "kind: hash_layers, tau: 8", dimension="hidden")
    words = f"expected softmax attention and dense feed-forwards in every layer of {YI}"
    assert words in str(refused(linear, tables))
    with pytest.raises(StackError, match=f"{words.removesuffix(YI)}mixtral-8x7b"):
        applied("mixtral-8x7b", tables)


def test_a_branch_that_changes_nothing_is_allowed_anywhere(tmp_path: Path) -> None:
    same = technique_file(tmp_path, "same", "kind: light_tokens, heavy_ratio: 1, light_width_ratio: 0")
    assert applied("mixtral-8x7b", same).subject == subject_of("mixtral-8x7b")
    for heavy, light, operations in ((1, 0.5, {"mlp", "light_mlp"}), (0.5, 0, {"mlp"})):
        effect = f"kind: light_tokens, heavy_ratio: {heavy}, light_width_ratio: {light}"
        model = applied(YI, technique_file(tmp_path, "other", effect)).subject.model
        assert {matrix.operation for layer in model.layers for matrix in layer.feed_forward} == operations
        assert {layer.mixer.keeping.query_ratio for layer in model.layers} == {heavy}
