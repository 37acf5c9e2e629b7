"""What a config.json is refused for, always with the field and what would do."""

import contextlib

import pytest
from model_configs import CONFIGS, config, faults, load_named, read

from ctxsim.errors import SpecError
from ctxsim.spec.document import Document
from ctxsim.spec.huggingface import read_config


@pytest.mark.parametrize("model_type", ["lama", "nemotron-nas", "deepseek_v4", "gemma4", 7, None])
def test_unknown_model_type_is_refused(model_type: object) -> None:
    message = faults(config("llama-2-7b", model_type=model_type))["model_type"]
    assert "llama" in message
    assert "explicit YAML spec" in message


def test_unknown_text_part_is_refused_where_it_stands() -> None:
    data = config("gemma-3-27b", model_type="gemma4_text")
    assert 'did you mean "gemma3_text"' in faults(data)["text_config.model_type"]


def test_missing_model_type_is_refused() -> None:
    assert "found nothing" in faults(config("llama-2-7b", drop=("model_type",)))["model_type"]


@pytest.mark.parametrize(
    ("name", "field", "word"),
    [
        ("gpt-oss-20b", "layer_types", "compressed_sparse_attention"),
        ("granite-4.0-h-small", "layer_types", "conv"),
        ("qwen3-next-80b-a3b", "layer_types", "sliding_attention"),
        ("glm-5", "layer_types", "full_attention"),
        ("glm-5", "mlp_layer_types", "hash_moe"),
        ("glm-5", "indexer_types", "half"),
        ("llama-3.1-8b", "layer_types", "sliding_attention"),
    ],
)
def test_unknown_layer_word_is_refused(name: str, field: str, word: str) -> None:
    count = config(name)["num_hidden_layers"]
    message = faults(config(name, **{field: [word] * count}))[field]
    assert f'found "{word}"' in message
    assert "explicit YAML spec" in message


def test_unknown_attention_number_and_state_dtype_are_refused() -> None:
    assert 'found "2"' in faults(config("minimax-text-01", attn_type_list=[2] * 80))["attn_type_list"]
    assert 'found "int8"' in faults(config("jamba-1.5-mini", mamba_ssm_dtype="int8"))["mamba_ssm_dtype"]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers"])
def test_missing_required_field_is_refused(name: str, field: str) -> None:
    assert any(key.endswith(field) for key in faults(config(name, drop=(field,))))


def test_all_faults_come_at_once_with_their_lines() -> None:
    data = config("llama-2-7b", drop=("vocab_size",), hidden_size="wide", num_hidden_layers=-1)
    with pytest.raises(SpecError) as caught:
        read(data)
    found = {fault.field: fault.line for fault in caught.value.faults}
    assert set(found) == {"vocab_size", "hidden_size", "num_hidden_layers"}
    assert found["hidden_size"] == 1 + 1 + list(data).index("hidden_size")


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("llama-2-70b", {"num_key_value_heads": 7}, "num_key_value_heads"),
        ("llama-2-70b", {"num_attention_heads": 63}, "num_key_value_heads"),
        ("llama-2-7b", {"num_attention_heads": 31, "num_key_value_heads": 31}, "num_attention_heads"),
        ("falcon-40b", {"num_kv_heads": 7}, "num_key_value_heads"),
        ("mixtral-8x7b", {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ("gpt-oss-20b", {"layer_types": ["full_attention"] * 23}, "layer_types"),
        ("minimax-text-01", {"attn_type_list": [0] * 81}, "attn_type_list"),
        ("minimax-text-01", {"attn_type_list": None}, "attn_type_list"),
        ("llama-4-scout", {"no_rope_layers": [1]}, "no_rope_layers"),
        ("jamba-1.5-mini", {"attn_layer_offset": 8}, "attn_layer_offset"),
        ("granite-4.0-h-small", {"mamba_d_head": 65}, "mamba_d_head"),
        ("glm-5", {"indexer_types": ["full"]}, "indexer_types"),
        ("llama-2-7b", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ("llama-2-7b", {"hidden_size": True}, "hidden_size"),
        ("llama-2-7b", {"hidden_size": 4096.0}, "hidden_size"),
        ("llama-2-7b", {"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ("gpt-oss-20b", {"layer_types": "full_attention"}, "layer_types"),
        ("jamba-1.5-mini", {"mamba_ssm_dtype": 4}, "mamba_ssm_dtype"),
    ],
)
def test_contradictions_and_wrong_kinds_are_refused(name: str, changes: dict, field: str) -> None:
    found = faults(config(name, **changes))
    assert any(key.removeprefix("text_config.") in (field, *changes) for key in found), found


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama-3.1-8b", {"sliding_window": 4096}),
        ("llama-3.1-8b", {"kv_lora_rank": 512}),
        ("llama-3.1-8b", {"num_local_experts": 8}),
        ("llama-3.1-8b", {"block_configs": [{"attention": {"no_op": True}}]}),
        ("deepseek-v3", {"index_topk": 2048}),
        ("gemma-3-27b", {"num_kv_shared_layers": 10}),
        ("gemma-3-27b", {"use_bidirectional_attention": True}),
        ("mistral-7b", {"layer_types": ["full_attention"] * 32}),
    ],
)
def test_mechanisms_a_family_is_not_known_to_have_are_refused(name: str, changes: dict) -> None:
    assert "explicit YAML spec" in next(iter(faults(config(name, **changes)).values()))


def test_a_mechanism_that_is_switched_off_is_no_fault() -> None:
    assert read(config("llama-3.1-8b", sliding_window=None, num_local_experts=0)) == load_named("llama-3.1-8b")


@pytest.mark.parametrize("data", [{"text_config": 3}, {"text_config": {"model_type": []}}, {"model_type": {}}, {}])
def test_files_that_are_no_model_are_refused(data: dict) -> None:
    assert faults(data)


ODD_VALUES = [None, 0, -1, 1, 7, 10**30, 1.5, "x", "", [], [1], ["x"], {}, True, False]


@pytest.mark.parametrize("name", CONFIGS)
def test_an_odd_value_in_any_field_is_read_or_refused_but_never_crashes(name: str) -> None:
    data = config(name)
    for key in data.get("text_config", data):
        for value in ODD_VALUES:
            changed = Document("config.json", config(name, **{key: value}))
            with contextlib.suppress(SpecError):
                assert read_config(changed, name).num_parameters > 0
