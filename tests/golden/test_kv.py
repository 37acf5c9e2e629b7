"""KV cache in bytes: a token of every shipped model, and whole contexts with formats, copies, windows and states."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ctxsim.geometry import KvLayout, attention_classes, kv_bytes_per_token, state_bytes_per_sequence
from ctxsim.spec.catalog import names
from ctxsim.spec.models import load_model

HERE = Path(__file__).parent
MODELS = list(csv.DictReader((HERE / "models.csv").read_text().splitlines()))
CONTEXTS = list(csv.DictReader((HERE / "kv.csv").read_text().splitlines()))

# physics.md section 4, all of its list.
PER_TOKEN = {
    "llama-2-7b": 524_288,
    "llama-2-13b": 819_200,
    "llama-3.1-8b": 131_072,
    "llama-3.1-70b": 327_680,
    "llama-3.1-405b": 516_096,
    "yi-34b-200k": 245_760,
    "mixtral-8x7b": 131_072,
    "qwen3-32b": 262_144,
    "qwen3-30b-a3b": 98_304,
    "qwen3-235b-a22b": 192_512,
    "deepseek-v3": 70_272,
    "kimi-k2": 70_272,
    "glm-5": 89_856,
    "gpt-oss-120b": 36_864,
    "llama-4-scout": 49_152,
    "llama-4-maverick": 49_152,
    "qwen3.5-397b-a17b": 30_720,
}
BESIDE = {"glm-5": ("index", 78), "gpt-oss-120b": ("sliding 128", 18), "llama-4-scout": ("chunked 8192", 36)}


def listed(quantity: str) -> dict[str, int]:
    return {row["name"]: int(row["expected"]) for row in MODELS if row["quantity"] == quantity}


@pytest.mark.parametrize("name", PER_TOKEN)
def test_the_reference_list(name: str) -> None:
    assert kv_bytes_per_token(load_model(name), "bf16") == PER_TOKEN[name]


@pytest.mark.parametrize("name", names("model"))
def test_every_shipped_model_as_the_models_table_has_it(name: str) -> None:
    model = load_model(name)
    assert kv_bytes_per_token(model, "bf16") == listed("kv_bytes_per_token")[name]
    assert state_bytes_per_sequence(model) == listed("state_bytes_per_sequence").get(name, 0)
    keys = sum(c.bytes_per_token for c in attention_classes(model, "bf16") if c.name == "index")
    assert keys == listed("index_key_bytes_per_token").get(name, 0)


@pytest.mark.parametrize(("name", "beside"), BESIDE.items())
def test_layers_that_come_on_top(name: str, beside: tuple[str, int]) -> None:
    layers = {c.name: c.layers for c in attention_classes(load_model(name), "bf16")}
    assert layers[beside[0]] == beside[1]


@pytest.mark.parametrize("row", CONTEXTS, ids=lambda row: "-".join(list(row.values())[:4]))
def test_contexts(row: dict[str, str]) -> None:
    layout = KvLayout.of(load_model(row["model"]), row["kv_dtype"], int(row["tensor_parallel"]))
    found = layout.held_bytes(int(row["context_tokens"]))
    assert found == pytest.approx(int(row["expected_bytes"]), rel=float(row["tolerance"]), abs=1e-3), row["source"]


def test_what_a_million_tokens_cost_in_one_layer_of_sixty() -> None:
    """physics.md section 2: 3.81 GiB in bf16, 1.0729 GiB in groups of 64 four-bit values with scale and zero point."""
    gib = {
        dtype: 1_000_000 * kv_bytes_per_token(load_model("paper-34b"), dtype) / 60 / 2**30 for dtype in ("bf16", "int4")
    }
    assert {dtype: f"{value:.4f}" for dtype, value in gib.items()} == {"bf16": "3.8147", "int4": "1.0729"}
