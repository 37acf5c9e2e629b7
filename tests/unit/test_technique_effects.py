"""Each kind of effect, by hand: what it makes of a model's layers, weights, KV and settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.techniques import applied, subject_of, technique_file

from ctxsim.geometry import KvLayout, Read, Span, attention_classes, state_bytes_per_sequence
from ctxsim.spec.model import Attention, LatentAttention, ModelSpec, StateMixer
from ctxsim.spec.techniques import StackError, Subject
from ctxsim.spec.techniques.subject import rounded_up, spread

YI, MIXTRAL, DEEPSEEK, GEMMA, LLAMA4 = "yi-34b-200k", "mixtral-8x7b", "deepseek-v3", "gemma-3-27b", "llama-4-scout"
# Yi-34B: 60 layers, hidden 7168, 56 heads, 8 KV heads of 128, feed-forward 20480.
ROW = 2 * 8 * 128 * 2  # bytes of a token in one layer, bf16
KV_WEIGHTS = 7168 * 2 * 8 * 128


def one(folder: Path, effect: str, model: str | Subject = YI) -> Subject:
    return applied(model, technique_file(folder, "mine", effect)).subject


def refused(folder: Path, effect: str, model: str | Subject = YI) -> str:
    with pytest.raises(StackError) as caught:
        one(folder, effect, model)
    return str(caught.value)


def held(model: ModelSpec, tokens: int) -> float:
    return float(KvLayout.of(model, "bf16").held_bytes(tokens))


def counted(model: ModelSpec, operation: str) -> int:
    return sum(m.parameters for layer in model.layers for m in layer.matrices if m.operation == operation)


def test_kv_heads(tmp_path: Path) -> None:
    model = one(tmp_path, "kind: kv_heads, num_kv_heads: 2").model
    assert held(model, 1000) == 1000 * 60 * ROW / 4
    assert counted(model, "qkv") == 60 * (7168 * 7168 + KV_WEIGHTS // 4)
    assert one(tmp_path, "kind: kv_heads, num_kv_heads: 0") == subject_of(YI)
    assert "expected a divisor of the 8 KV heads of yi-34b-200k, found 3" in refused(
        tmp_path, "kind: kv_heads, num_kv_heads: 3"
    )
    assert "latent rows have no KV heads to share" in refused(tmp_path, "kind: kv_heads, num_kv_heads: 1", DEEPSEEK)


def test_latent(tmp_path: Path) -> None:
    effect = "kind: latent, kv_lora_rank: 512, qk_rope_head_dim: 64"
    model = one(tmp_path, effect).model
    assert held(model, 1000) == 1000 * 60 * 576 * 2
    assert counted(model, "mla_down") == 60 * 7168 * 576
    assert counted(model, "mla_up") == 60 * 7168 * 56 * (128 + 64)
    assert counted(model, "mla_kv_up") == 60 * 512 * 56 * 256
    assert counted(model, "attention_out") == 60 * 7168 * 7168
    assert "has latent attention already" in refused(tmp_path, effect, DEEPSEEK)
    sliding = {layer.mixer for layer in one(tmp_path, effect, GEMMA).model.layers if isinstance(layer.mixer, Attention)}
    assert {mixer.kind for mixer in sliding} == {"sliding"}


@pytest.mark.parametrize(("size", "storing"), [(2, 30), (7, 9), (0, 1), (60, 1), (1, 60)])
def test_share_layers(tmp_path: Path, size: int, storing: int) -> None:
    model = one(tmp_path, f"kind: share_layers, layers_per_group: {size}").model
    assert held(model, 1000) == 1000 * storing * ROW
    assert counted(model, "qkv") == 60 * 7168 * 7168 + storing * KV_WEIGHTS
    (c,) = attention_classes(model, "bf16")
    assert (c.layers, c.read_bytes_per_token, c.reads) == (60, 60 * ROW, (Read(Span("full")),))
    assert sum(layer.keeps_kv for layer in model.layers) == storing


def test_latent_rows_are_shared_too(tmp_path: Path) -> None:
    before, after = subject_of(DEEPSEEK).model, one(tmp_path, "kind: share_layers, layers_per_group: 0", DEEPSEEK).model
    assert held(after, 1000) == held(before, 1000) / 61
    # 60 of 61 layers lose the part of the down-projection that makes the row, none its queries.
    assert counted(before, "mla_down") - counted(after, "mla_down") == 60 * 7168 * 576
    assert "indexers" in refused(tmp_path, "kind: share_layers, layers_per_group: 2", "deepseek-v3.2")


def test_windows_and_full_layers_share_among_themselves(tmp_path: Path) -> None:
    after = one(tmp_path, "kind: share_layers, layers_per_group: 0", GEMMA).model
    assert sum(layer.keeps_kv for layer in after.layers) == 2


def test_decoder_decoder(tmp_path: Path) -> None:
    model = one(tmp_path, "kind: decoder_decoder, window_tokens: 1000").model
    assert held(model, 5000) == (30 * 1000 + 5000) * ROW
    assert [layer.last_token_only for layer in model.layers] == [False] * 30 + [True] * 30
    assert (counted(model, "qkv"), counted(model, "global_kv")) == (
        60 * 7168 * 7168 + 30 * KV_WEIGHTS,
        KV_WEIGHTS,
    )
    lower, upper = attention_classes(model, "bf16")
    assert lower.reads == (Read(Span("sliding", 1000)),)
    assert upper.reads == (Read(Span("full", 0, "prefill"), last_query=True), Read(Span("full", 0, "decode")))
    assert (upper.bytes_per_token, upper.read_bytes_per_token) == (ROW, 30 * ROW)
    assert "found a chunked layer" in refused(tmp_path, "kind: decoder_decoder, window_tokens: 9", LLAMA4)


@pytest.mark.parametrize(("few", "places"), [(0, []), (1, [5]), (2, [2, 5]), (4, [1, 2, 4, 5]), (6, list(range(6)))])
def test_a_share_of_layers_is_spread_evenly(few: int, places: list[int]) -> None:
    assert spread(few, 6) == places


@pytest.mark.parametrize(
    ("ratio", "number", "found"), [(0, 8, 0), (1 / 3, 3, 1), (0.15, 8, 2), (0.5, 7, 4), (1, 60, 60)]
)
def test_shares_are_rounded_up(ratio: float, number: int, found: int) -> None:
    assert rounded_up(ratio, number) == found


def test_split_heads(tmp_path: Path) -> None:
    effect = "kind: split_heads, full_ratio: 0.3, sink_tokens: 4, window_tokens: 96"
    whole, windowed = attention_classes(one(tmp_path, effect).model, "bf16")  # 2.4 of 8 heads: 3
    assert (whole.mixer.num_heads, windowed.mixer.num_heads) == (21, 35)
    assert (whole.bytes_per_token, windowed.bytes_per_token) == (60 * ROW * 3 / 8, 60 * ROW * 5 / 8)
    assert windowed.reads == (Read(Span("sliding", 100)),)
    _, full_prompts = attention_classes(one(tmp_path, effect + ", prefill: full").model, "bf16")
    assert full_prompts.held == Span("sliding", 100)
    assert full_prompts.spans == (Span("full", 0, "prefill"), Span("sliding", 100, "decode"))
    assert "shared by all heads" in refused(tmp_path, effect, DEEPSEEK)


def test_window(tmp_path: Path) -> None:
    effect = "kind: window, sink_tokens: 4, window_tokens: 96, prefill: {}"
    (trained,) = attention_classes(one(tmp_path, effect.format("windowed")).model, "bf16")
    assert (trained.held, trained.reads) == (Span("sliding", 100), (Read(Span("sliding", 100)),))
    (untrained,) = attention_classes(one(tmp_path, effect.format("full")).model, "bf16")
    assert untrained.held == Span("sliding", 100)
    assert untrained.spans == (Span("full", 0, "prefill"), Span("sliding", 100, "decode"))
    for name in ("full", "windowed"):
        latent = attention_classes(one(tmp_path, effect.format(name), DEEPSEEK).model, "bf16")[0]
        assert (latent.held, latent.spans[0].kind) == (Span("sliding", 100), {"full": "full"}.get(name, "sliding"))
    gemma = one(tmp_path, "kind: window, window_tokens: 2000, prefill: windowed", GEMMA).model
    assert {c.held.tokens for c in attention_classes(gemma, "bf16")} == {1024, 2000}


def test_evict(tmp_path: Path) -> None:
    (share,) = attention_classes(one(tmp_path, "kind: evict, keep_ratio: 0.25").model, "bf16")
    assert (share.held, share.bytes_per_token) == (Span("full"), 60 * ROW / 4)
    assert share.reads == (Read(Span("full", 0, "prefill")), Read(Span("full", 0, "decode"), 0.25, 0.25))
    (budget,) = attention_classes(one(tmp_path, "kind: evict, budget_tokens: 500").model, "bf16")
    assert (budget.held, budget.bytes_per_token) == (Span("sliding", 500), 60 * ROW)
    both = applied(
        YI,
        technique_file(tmp_path, "share", "kind: evict, keep_ratio: 0.25"),
        technique_file(tmp_path, "budget", "kind: evict, budget_tokens: 500"),
    ).subject.model
    assert held(both, 1000) == 250 * 60 * ROW
    assert held(both, 100_000) == 500 * 60 * ROW


def test_select(tmp_path: Path) -> None:
    effect = "kind: select, top_k_tokens: 2048, page_tokens: 16, metadata_values_per_page: 256"
    kv, pages = attention_classes(one(tmp_path, effect).model, "bf16")
    assert (kv.held, kv.spans) == (Span("full"), (Span("full", 0, "prefill"), Span("topk", 2048, "decode")))
    assert pages.bytes_per_token == 60 * 8 * 256 / 16 * 2
    assert pages.spans == (Span("full", 0, "decode"),)
    assert "nothing to select from" in refused(
        tmp_path, effect, one(tmp_path, "kind: window, window_tokens: 9, prefill: full")
    )
    gemma = attention_classes(one(tmp_path, effect, GEMMA).model, "bf16")
    assert [c.held.kind for c in gemma] == ["sliding", "full", "full"]


def test_hybrids(tmp_path: Path) -> None:
    sliding = one(tmp_path, "kind: hybrid, full_every: 6, other: sliding, window_tokens: 512").model
    assert [i for i, layer in enumerate(sliding.layers) if layer.mixer.kind == "full"] == list(range(5, 60, 6))
    linear = one(tmp_path, "kind: hybrid, full_every: 0, other: linear").model
    assert all(isinstance(layer.mixer, StateMixer) for layer in linear.layers)
    assert state_bytes_per_sequence(linear) == 60 * 4 * 8 * 128 * 128
    assert linear.layers[0].mixer.state_flop_per_token == 2 * (8 + 56) * 128 * 128
    assert linear.num_parameters == subject_of(YI).model.num_parameters
    effect = "kind: hybrid, full_every: 2, other: linear"
    assert "hybrid with constant states already" in refused(tmp_path, effect, "jamba-1.5-mini")
    assert "latent attention has no keys and values" in refused(tmp_path, effect, DEEPSEEK)
    latent = one(tmp_path, "kind: hybrid, full_every: 0, other: sliding, window_tokens: 512", DEEPSEEK).model
    assert held(latent, 9000) == 512 * 61 * 576 * 2


def test_feed_forwards(tmp_path: Path) -> None:
    narrow = one(tmp_path, "kind: ffn_width, ratio: 0.5").model
    assert counted(narrow, "mlp") == 60 * 3 * 7168 * 10240
    assert "expected a dense feed-forward (mlp)" in refused(tmp_path, "kind: ffn_width, ratio: 0.5", MIXTRAL)
    light = one(tmp_path, "kind: light_tokens, heavy_ratio: 0.25, light_width_ratio: 0.125").model
    assert counted(light, "light_mlp") == 60 * 3 * 7168 * 2560
    (c,) = attention_classes(light, "bf16")
    assert (c.reads[0].pair_ratio, c.reads[0].touched_ratio) == (0.25, 1.0)
    assert (c.reads[1].pair_ratio, c.reads[1].touched_ratio) == (0.25, 0.25)


def test_tables(tmp_path: Path) -> None:
    """MemoryFormer (arXiv 2411.12992): 2^tau h d / tau values stored, d h / tau of them read by a token."""
    before, after = subject_of(YI).model, one(tmp_path, "kind: hash_layers, tau: 8").model
    assert counted(after, "mlp") == counted(before, "mlp") // 8 * 256
    (mlp,) = after.layers[0].feed_forward
    assert mlp.active_parameters == 3 * 7168 * 20480 // 8
    assert "expected a divisor of the 7168 inputs of qkv, found 9" in refused(tmp_path, "kind: hash_layers, tau: 9")


def test_regions(tmp_path: Path) -> None:
    effect = "kind: attention_pattern, pattern: combiner_fixed, region_tokens: {}"
    (c,) = attention_classes(one(tmp_path, effect.format(256)).model, "bf16")
    assert (c.held, c.reads) == (Span("full"), (Read(Span("fixed", 256)),))
    short = subject_of(YI, max_model_len=4096)
    assert one(tmp_path, effect.format(4096), short) == short != one(tmp_path, effect.format(4095), short)


def test_settings(tmp_path: Path) -> None:
    assert one(tmp_path, "kind: kv_format, format: kivi2").serving.kv_dtype == "kivi2"
    assert one(tmp_path, "kind: weights, format: fp8").serving.weight_dtype == "fp8"
    assert one(tmp_path, "kind: set, setting: host_kv_capacity, value: 1 GiB").serving.host_kv_capacity == 2**30
    assert one(tmp_path, "kind: set, setting: deployment.replicas, value: 3").deployment.replicas == 3
    assert one(tmp_path, "kind: set, setting: block_size, value: null") == subject_of(YI)
    fp8 = subject_of(YI, kv_dtype="fp8")
    assert one(tmp_path, "kind: kv_format, format: bf16", fp8) == fp8
    assert 'serving.kv_dtype is "fp8" already, and it sets "int4"; leave one out' in refused(
        tmp_path, "kind: kv_format, format: int4", fp8
    )
    assert 'found "blok_size"; did you mean "block_size"?' in refused(
        tmp_path, "kind: set, setting: blok_size, value: 3"
    )
    assert "serving.block_size: expected a number of at least 1, found 0" in refused(
        tmp_path, "kind: set, setting: block_size, value: 0"
    )


def test_what_is_off_can_be_turned_on(tmp_path: Path) -> None:
    off = subject_of(YI, enable_prefix_caching=False)
    on = one(tmp_path, "kind: set, setting: enable_prefix_caching, value: true", off)
    assert on.serving.enable_prefix_caching
    assert on.serving == subject_of(YI).serving
    assert one(tmp_path, "kind: set, setting: host_kv_capacity, value: 1 GiB", off).serving.host_kv_capacity == 2**30
    assert "serving.block_size is 32 already, and it sets 64; leave one out" in refused(
        tmp_path, "kind: set, setting: block_size, value: 64", subject_of(YI, block_size=32)
    )


def test_a_neutral_value_changes_nothing(tmp_path: Path) -> None:
    """Whatever the scenario chose; but it must be a value of the setting."""
    groups = "kind: set, setting: deployment.context_parallel, neutral: 1, value: {}"
    chosen = one(tmp_path, groups.format(2))
    assert (chosen.deployment.context_parallel, one(tmp_path, groups.format(1), chosen)) == (2, chosen)
    assert "context_parallel is 2 already, and it sets 3" in refused(tmp_path, groups.format(3), chosen)
    value = "{{draft: m, draft_tokens: {}, acceptance: {}}}"
    rounds = f"kind: set, setting: speculation, neutral: {{{{draft_tokens: 0}}}}, value: {value}"
    assert one(tmp_path, rounds.format(0, 0.5), chosen) == chosen
    drafted = one(tmp_path, rounds.format(3, 0.5), chosen)
    assert drafted.serving.speculation is not None
    assert one(tmp_path, rounds.format(0, 0.7), drafted) == drafted
    assert "acceptance: expected a number of at most 1, found 2" in refused(tmp_path, rounds.format(0, 2))


def test_chunks(tmp_path: Path) -> None:
    """A budget of its own is set, or a greater one cut; a smaller one that somebody chose is another choice."""
    effect = "kind: chunk, iteration_tokens: {}"
    for chosen in (2048, 65536):
        subject = subject_of(YI, max_num_batched_tokens=chosen)
        assert one(tmp_path, effect.format(1024), subject).serving.max_num_batched_tokens == 1024
        assert one(tmp_path, effect.format("null"), subject) == subject
    assert one(tmp_path, effect.format(4096)).serving.max_num_batched_tokens == 4096
    assert "serving.max_num_batched_tokens is 512 already, and it sets 2048; leave one out" in refused(
        tmp_path, effect.format(2048), subject_of(YI, max_num_batched_tokens=512)
    )
    assert "max_num_batched_tokens: expected at least max_num_seqs (256), found 8" in refused(
        tmp_path, effect.format(8)
    )


def test_latent_models_stay_latent(tmp_path: Path) -> None:
    model = one(tmp_path, "kind: evict, keep_ratio: 0.5", DEEPSEEK).model
    assert all(isinstance(layer.mixer, LatentAttention) for layer in model.layers)
    assert held(model, 1000) == 0.5 * 1000 * 61 * 576 * 2
