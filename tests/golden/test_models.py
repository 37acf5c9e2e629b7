"""Every shipped model against published numbers: parameters, active parameters, bytes of KV and state."""

import csv
from pathlib import Path

import pytest

from ctxsim.spec.catalog import names
from ctxsim.spec.model import Attention, LatentAttention, ModelSpec, StateMixer
from ctxsim.spec.models import load_model

TABLE = Path(__file__).with_name("models.csv")
ROWS = list(csv.DictReader(TABLE.read_text().splitlines()))
BF16_BYTES = 2


def kind(mixer) -> str:
    return "latent" if isinstance(mixer, LatentAttention) else mixer.kind


def kv_values(mixer) -> int:
    """Values a layer keeps of every token of the context."""
    if isinstance(mixer, LatentAttention):
        return mixer.kv_lora_rank + mixer.qk_rope_head_dim
    if isinstance(mixer, Attention) and mixer.kind == "full":
        return mixer.num_kv_heads * (mixer.qk_head_dim + mixer.v_head_dim)
    return 0


def measured(model: ModelSpec, quantity: str) -> int:
    mixers = [layer.mixer for layer in model.layers]
    if quantity == "kv_bytes_per_token":
        return BF16_BYTES * sum(kv_values(mixer) for mixer in mixers)
    if quantity == "index_key_bytes_per_token":
        return sum(mixer.index_key_bytes for mixer in mixers)
    if quantity == "state_bytes_per_sequence":
        return sum(mixer.state_bytes for mixer in mixers if isinstance(mixer, StateMixer))
    if quantity.endswith("_layers"):
        return sum(kind(mixer) == quantity.removesuffix("_layers") for mixer in mixers)
    return getattr(model, quantity)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']}-{row['quantity']}")
def test_published_numbers(row: dict[str, str]) -> None:
    found = measured(load_model(row["name"]), row["quantity"])
    assert found == pytest.approx(int(row["expected"]), rel=float(row["tolerance"]), abs=0), row["source"]


@pytest.mark.parametrize("name", names("model"))
@pytest.mark.parametrize("quantity", ["num_parameters", "kv_bytes_per_token"])
def test_every_shipped_model_has_its_numbers_in_the_table(name: str, quantity: str) -> None:
    assert [row for row in ROWS if row["name"] == name and row["quantity"] == quantity]


def test_every_row_names_its_source() -> None:
    assert all(row["source"] for row in ROWS)


def test_table_names_only_shipped_models() -> None:
    assert {row["name"] for row in ROWS} <= set(names("model"))


def test_llama_70b_context_of_128_ki_tokens_is_40_gib() -> None:
    assert measured(load_model("llama-3.1-70b"), "kv_bytes_per_token") * 128 * 2**10 == 40 * 2**30
