"""How each shipped model keeps context, from its raw configuration and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.techniques import applied

from ctxsim.geometry import (
    KvLayout,
    Span,
    attention_classes,
    kv_bytes_per_token,
    state_bytes_per_sequence,
)
from ctxsim.spec.catalog import find, names
from ctxsim.spec.model import Attention, LatentAttention, StateMixer
from ctxsim.spec.models import load_model

MODELS = names("model")
CONFIGS = [name for name in MODELS if find("model", name).suffix == ".json"]
LATENT = [name for name in MODELS if isinstance(load_model(name).layers[0].mixer, LatentAttention)]
BF16_BYTES = 2


def config(name: str) -> dict[str, Any]:
    """The raw configuration, its text part where it has one."""
    raw = json.loads(find("model", name).read_text())
    return raw | raw.get("text_config", {})


def row_bytes(name: str) -> int:
    """Bytes of one token in one layer that keeps it, from the configuration alone, in bf16."""
    c = config(name)
    if "kv_lora_rank" in c:
        return (c["kv_lora_rank"] + c["qk_rope_head_dim"]) * BF16_BYTES
    heads = c["num_attention_heads"]
    if c["model_type"] == "falcon":
        kv_heads = c["num_kv_heads"] if c.get("new_decoder_architecture") else 1
    else:
        kv_heads = c.get("num_key_value_heads") or heads
    head_dim = c.get("head_dim") or c["hidden_size"] // heads
    return 2 * kv_heads * head_dim * BF16_BYTES


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_keeps_the_rows_of_its_configuration(name: str) -> None:
    for c in attention_classes(load_model(name), "bf16"):
        if c.name != "index":
            assert c.bytes_per_token == c.layers * row_bytes(name)


@pytest.mark.parametrize("name", MODELS)
def test_classes_cover_every_layer_with_context_once(name: str) -> None:
    model = load_model(name)
    with_context = [layer for layer in model.layers if not isinstance(layer.mixer, StateMixer)]
    classes = [c for c in attention_classes(model, "bf16") if c.name != "index"]
    assert sum(c.layers for c in classes) == len(with_context)
    for c in classes:
        assert c.layers == sum(layer.mixer == c.mixer for layer in model.layers)


@pytest.mark.parametrize("name", MODELS)
def test_classes_read_with_the_span_of_their_mixer(name: str) -> None:
    for c in attention_classes(load_model(name), "bf16"):
        if isinstance(c.mixer, Attention):
            assert c.spans == (c.held,)
            assert c.held == Span(c.mixer.kind, c.mixer.window_tokens or 0)
        elif c.mixer.index_topk is None:
            assert c.held == Span("full")
            assert c.spans == (Span("full", 0, "prefill"), Span("full", 0, "decode"))
        else:
            read = Span("full") if c.name == "index" else Span("topk", c.mixer.index_topk)
            assert (c.held, c.spans) == (Span("full"), (read,))


@pytest.mark.parametrize("name", MODELS)
def test_held_bytes_of_a_long_context_are_growth_windows_and_state(name: str) -> None:
    """Past every window a token costs what ``kv_bytes_per_token`` says, plus an indexer's keys."""
    model = load_model(name)
    layout = KvLayout.of(model, "bf16")
    keys = sum(c.bytes_per_token for c in attention_classes(model, "bf16") if c.name == "index")
    growth = layout.held_bytes(200_001) - layout.held_bytes(200_000)
    assert growth == kv_bytes_per_token(model, "bf16") + keys
    windows = sum(
        c.bytes_per_token * (c.mixer.window_tokens or 0)
        for c in attention_classes(model, "bf16")
        if isinstance(c.mixer, Attention) and c.mixer.kind != "full"
    )
    assert layout.held_bytes(200_000) == 200_000 * growth + windows + state_bytes_per_sequence(model)


@pytest.mark.parametrize(
    ("name", "tensor_parallel", "copies"),
    [
        ("llama-3.1-70b", 8, 1),
        ("llama-3.1-70b", 16, 2),
        ("llama-3.1-70b", 64, 8),
        ("qwen3-235b-a22b", 4, 1),
        ("qwen3-235b-a22b", 8, 2),
        ("qwen3.5-397b-a17b", 8, 4),
        ("paper-34b-mqa", 8, 8),
        ("paper-34b-mha", 8, 1),
        ("phi-3-medium", 4, 12 / 10),  # ten KV heads on four ranks: three a rank
    ],
)
def test_ranks_beyond_the_kv_heads_keep_copies(name: str, tensor_parallel: int, copies: float) -> None:
    model = load_model(name)
    alone = kv_bytes_per_token(model, "bf16")
    assert kv_bytes_per_token(model, "bf16", tensor_parallel) == pytest.approx(copies * alone, rel=1e-15)


@pytest.mark.parametrize("name", LATENT)
@pytest.mark.parametrize("tensor_parallel", [2, 8])
def test_every_rank_keeps_the_whole_latent(name: str, tensor_parallel: int) -> None:
    model = load_model(name)
    alone, group = KvLayout.of(model, "bf16"), KvLayout.of(model, "bf16", tensor_parallel)
    assert group.held_bytes(5_000) == tensor_parallel * alone.held_bytes(5_000)


def test_state_is_divided_not_copied() -> None:
    model = load_model("jamba-1.5-mini")
    alone, group = KvLayout.of(model, "bf16"), KvLayout.of(model, "bf16", 8)
    assert group.held_bytes(0) == alone.held_bytes(0) == state_bytes_per_sequence(model) == 28 * (524_288 + 49_152)


@pytest.mark.parametrize(
    ("dtype", "bytes_per_value"),
    [
        ("bf16", 2),
        ("fp8", 1),
        ("int8", 1 + 4 / 128),  # a float32 scale a head of 128
        ("int4", 0.5 + (2 + 2) / 64),  # a bf16 scale and a bf16 zero point a group of 64
    ],
)
def test_scales_weigh_on_every_value(dtype: str, bytes_per_value: float) -> None:
    values = 60 * 2 * 8 * 128
    assert kv_bytes_per_token(load_model("yi-34b-200k"), dtype) == values * bytes_per_value


def test_a_latent_row_has_one_scale_in_int8() -> None:
    assert kv_bytes_per_token(load_model("deepseek-v3"), "int8") == pytest.approx(61 * (576 + 4), rel=1e-15)
    assert kv_bytes_per_token(load_model("gpt-oss-120b"), "int8") == 18 * 2 * 8 * (64 + 4)


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "int8", "int4"])
def test_indexer_keys_have_a_format_of_their_own(dtype: str) -> None:
    keys = [c for c in attention_classes(load_model("deepseek-v3.2"), dtype) if c.name == "index"]
    assert [c.bytes_per_token for c in keys] == [61 * (128 + 4)]


def test_configurations_are_found() -> None:
    """The parametrised tests above would pass on empty lists."""
    assert len(CONFIGS) >= 24
    assert {"deepseek-v2", "deepseek-v3", "deepseek-v3.2", "glm-5", "kimi-k2", "paper-34b-mla"} <= set(LATENT)
    assert all(Path(find("model", name)).is_file() for name in MODELS)


def test_layers_of_one_kind_that_differ_have_names_of_their_own() -> None:
    model = applied("yi-34b-200k", "mqa(layer_ratio=0.5)", "quest").subject.model
    classes = attention_classes(model, "bf16", by_phase=True)
    assert [(c.name, c.rows, c.mixer.num_kv_heads) for c in classes] == [
        ("full", "kv", 8),
        ("pages", "pages", 8),
        ("full (2)", "kv", 1),
        ("pages (2)", "pages", 1),
    ]
