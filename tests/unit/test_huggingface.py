"""Reading config.json: every shipped model, every silent trap, every fault with its place."""

import json
from copy import deepcopy
from dataclasses import fields

import pytest
from model_configs import CONFIGS, config, faults, load_named, mixers, read

from ctxsim.errors import SpecError
from ctxsim.spec.document import parse_document
from ctxsim.spec.families.defaults import DEFAULTS
from ctxsim.spec.huggingface import ADAPTERS, SAME_AS, read_config
from ctxsim.spec.model import Attention, LatentAttention, StateMixer
from ctxsim.spec.models import load_model

OPERATIONS = {
    "qkv",
    "attention_out",
    "mlp",
    "router",
    "experts",
    "shared_experts",
    "mla_down",
    "mla_up",
    "mla_kv_up",
    "indexer",
    "state_in",
    "state_out",
}


# --- what holds for every shipped model ---------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_is_hashable_and_reads_the_same_twice(name: str) -> None:
    model = load_model(name)
    assert model == load_model(name)
    assert hash(model) == hash(load_model(name))
    assert model.name == name


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_as_many_as_the_file_says(name: str) -> None:
    data = config(name)
    text = data.get("text_config", data)
    assert load_model(name).num_layers == text["num_hidden_layers"]


@pytest.mark.parametrize("name", CONFIGS)
def test_matrices_have_known_operations_and_shards_that_divide(name: str) -> None:
    model = load_model(name)
    assert model.head.operation == "head"
    for layer in model.layer_counts:
        assert {matrix.operation for matrix in layer.matrices} <= OPERATIONS
        for matrix in layer.matrices:
            assert matrix.parameters % (matrix.max_shards or 1) == 0
            assert 1 <= matrix.experts_per_token <= matrix.experts
            assert matrix.experts == 1 or matrix.operation == "experts"


@pytest.mark.parametrize("name", CONFIGS)
def test_kv_projections_split_by_kv_heads(name: str) -> None:
    for mixer in mixers(load_model(name)):
        if isinstance(mixer, Attention):
            query, kv = (matrix for matrix in mixer.matrices if matrix.operation == "qkv")
            assert query.max_shards is None
            assert kv.max_shards == mixer.num_kv_heads
            assert mixer.num_heads % mixer.num_kv_heads == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_attention_and_feed_forward_in_parallel_need_one_all_reduce(name: str) -> None:
    model = load_model(name)
    assert {layer.all_reduces for layer in model.layers} == {1 if model.family in ("falcon", "cohere") else 2}


@pytest.mark.parametrize("name", CONFIGS)
def test_active_parameters_are_no_more_than_all(name: str) -> None:
    model = load_model(name)
    assert 0 < model.num_active_parameters <= model.num_parameters


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_of_the_file_that_is_dropped_is_defaulted_or_refused(name: str) -> None:
    """Nothing changes in silence: a model read without a field is equal, says so, or is refused."""
    full = load_model(name)
    data = config(name)
    for key in data.get("text_config", data):
        lesser = deepcopy(data)
        del lesser.get("text_config", lesser)[key]
        try:
            model = read_config(parse_document(json.dumps(lesser), "config.json"), name)
        except SpecError:
            continue
        same = all(
            getattr(model, f.name) == getattr(full, f.name) for f in fields(model) if f.name != "defaulted_fields"
        )
        assert same or set(model.defaulted_fields) - set(full.defaulted_fields), key


def test_every_adapter_has_a_shipped_model_and_a_table_of_defaults() -> None:
    assert {load_model(name).family for name in CONFIGS} == set(ADAPTERS)
    assert set(DEFAULTS) == set(ADAPTERS)
    assert set(SAME_AS.values()) <= set(ADAPTERS)


# --- defaults and aliases ------------------------------------------------------------------------------


def test_null_kv_heads_are_as_many_as_query_heads() -> None:
    model = read(config("llama-2-70b", num_key_value_heads=None))
    assert model.layers[0].mixer.num_kv_heads == 64


def test_absent_kv_heads_take_the_family_default_and_say_so() -> None:
    llama = read(config("llama-2-70b", drop=("num_key_value_heads",)))
    mistral = read(config("mistral-7b", drop=("num_key_value_heads",)))
    assert llama.layers[0].mixer.num_kv_heads == 64
    assert mistral.layers[0].mixer.num_kv_heads == 8
    assert "num_key_value_heads" in llama.defaulted_fields
    assert "num_key_value_heads" in mistral.defaulted_fields


def test_absent_head_size_is_derived_except_where_the_class_has_one() -> None:
    assert read(config("llama-3.1-8b")).layers[0].mixer.qk_head_dim == 128
    dense = read(config("qwen3-32b", drop=("head_dim",)))
    sparse = read(config("qwen3-30b-a3b", drop=("head_dim",)))
    assert dense.layers[0].mixer.qk_head_dim == 128  # the class default, not 5120 / 64 = 80
    assert sparse.layers[0].mixer.qk_head_dim == 2048 // 32  # the class of the sparse models has none
    assert "head_dim" in dense.defaulted_fields


def test_null_head_size_is_hidden_size_over_heads() -> None:
    assert read(config("mistral-7b", head_dim=None)).layers[0].mixer.qk_head_dim == 128


def test_gemma3_without_head_counts_relies_on_its_class() -> None:
    model = read(config("gemma-3-27b", drop=("num_attention_heads", "num_key_value_heads", "head_dim")))
    mixer = model.layers[0].mixer
    assert (mixer.num_heads, mixer.num_kv_heads, mixer.qk_head_dim) == (8, 4, 256)
    assert {"num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size"} <= set(model.defaulted_fields)


def test_other_spellings_mean_the_same() -> None:
    data = config("falcon-40b", drop=("num_kv_heads", "num_hidden_layers", "num_attention_heads"))
    assert read(data | {"n_head_kv": 8, "n_layer": 60, "n_head": 128}) == read(config("falcon-40b"))


def test_two_spellings_that_disagree_are_refused() -> None:
    assert "different" in faults(config("gpt-oss-20b", experts_per_token=8))["num_experts_per_tok"]


def test_text_config_is_read_before_the_top_level() -> None:
    data = config("gemma-3-27b") | {"hidden_size": 1, "num_hidden_layers": 1}
    assert read(data) == read(config("gemma-3-27b"))


def test_tied_head_at_the_top_level_of_a_multimodal_file_counts() -> None:
    tied = read(config("qwen3.5-397b-a17b") | {"tie_word_embeddings": True})
    assert tied.tied_head
    assert not read(config("qwen3.5-397b-a17b")).tied_head


# --- silent traps: layer kinds and windows -------------------------------------------------------------


def test_latent_attention_ignores_kv_heads_and_head_size() -> None:
    assert read(config("glm-5", num_key_value_heads=1, head_dim=192)) == read(config("glm-5"))


def test_mistral_window_null_is_off_and_absent_is_4096() -> None:
    assert {m.kind for m in mixers(read(config("mistral-7b")))} == {"full"}
    absent = read(config("mistral-7b", drop=("sliding_window",)))
    assert {(m.kind, m.window_tokens) for m in mixers(absent)} == {("sliding", 4096)}
    assert "sliding_window" in absent.defaulted_fields


def test_window_as_long_as_the_context_is_full_attention() -> None:
    assert {m.kind for m in mixers(read(config("phi-3-medium")))} == {"full"}
    short = read(config("phi-3-medium", sliding_window=2047))
    assert {(m.kind, m.window_tokens) for m in mixers(short)} == {("sliding", 2047)}


def test_qwen_window_needs_its_switch_and_starts_late() -> None:
    off = config("qwen2.5-7b", sliding_window=4096, max_window_layers=20)
    assert {m.kind for m in mixers(read(off))} == {"full"}
    kinds = [m.kind for m in mixers(read(off | {"use_sliding_window": True}))]
    assert kinds == ["full"] * 20 + ["sliding"] * 8


def test_sparse_qwen_window_holds_for_every_layer() -> None:
    on = read(config("qwen3-30b-a3b", sliding_window=4096, use_sliding_window=True))
    assert {m.kind for m in mixers(on)} == {"sliding"}


def test_gemma_layers_alternate_or_follow_the_pattern_in_either_spelling() -> None:
    assert [m.kind for m in mixers(load_model("gemma-2-27b"))][:4] == ["sliding", "full"] * 2
    assert [m.kind for m in mixers(load_model("gemma-3-27b"))].index("full") == 5
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        assert [m.kind for m in mixers(read(config("gemma-3-27b", **{key: 4})))].index("full") == 3


def test_sliding_layers_without_a_window_are_refused() -> None:
    assert "sliding_window" in faults(config("gpt-oss-20b", sliding_window=None))


def test_gpt_oss_first_layer_slides_with_or_without_the_list() -> None:
    listed, derived = load_model("gpt-oss-20b"), read(config("gpt-oss-20b", drop=("layer_types",)))
    assert listed.layers == derived.layers
    assert mixers(listed)[0].window_tokens == 128
    assert "layer_types" in derived.defaulted_fields


def test_llama4_one_means_rotary_and_chunked() -> None:
    kinds = [m.kind for m in mixers(load_model("llama-4-scout"))]
    assert kinds[:4] == ["chunked", "chunked", "chunked", "full"]
    flags = [0] * 47 + [1]
    assert [m.kind for m in mixers(read(config("llama-4-scout", no_rope_layers=flags)))] == ["full"] * 47 + ["chunked"]


def test_llama4_interleaves_dense_layers_of_their_own_width() -> None:
    model = load_model("llama-4-maverick")
    names_of = [{m.operation for m in layer.feed_forward} for layer in model.layers[:2]]
    assert names_of == [{"mlp"}, {"router", "experts", "shared_experts"}]
    assert model.layers[0].feed_forward[0].parameters == 3 * 5120 * 16384
    only = read(config("llama-4-maverick", moe_layers=[0]))
    assert "experts" in {m.operation for m in only.layers[0].feed_forward}
    assert {m.operation for m in only.layers[1].feed_forward} == {"mlp"}


def test_older_words_for_layer_types_are_understood() -> None:
    listed = config("glm-5", layer_types=["deepseek_sparse_attention"] * 78)
    assert read(listed) == load_named("glm-5")
    words = [
        "linear_attention" if w == "mamba" else "full_attention" for w in config("granite-4.0-h-small")["layer_types"]
    ]
    assert read(config("granite-4.0-h-small", layer_types=words)) == load_named("granite-4.0-h-small")


def test_shared_indexers_keep_no_keys_and_no_weights() -> None:
    types = ["full", "full", "full", *(["shared"] * 3 + ["full"]) * 18, *["shared"] * 3]
    scheduled = config("glm-5", index_topk_freq=4, index_skip_topk_offset=3)
    listed = config("glm-5", indexer_types=types)
    lettered = config("glm-5", index_topk_pattern="".join(word[0].upper() for word in types))
    assert read(listed).layers == read(scheduled).layers == read(lettered).layers
    assert sum(m.index_key_bytes for m in mixers(read(listed))) == 132 * 21
    assert all(m.index_topk == 2048 for m in mixers(read(listed)))
    assert "indexer" not in {m.operation for m in mixers(read(listed))[3].matrices}


def test_deepseek_sparse_layers_by_frequency_list_or_words() -> None:
    def sparse(**changes: object) -> list[bool]:
        model = read(config("deepseek-v3", **changes))
        return [layer.feed_forward[0].operation == "router" for layer in model.layers]

    assert sparse() == [False] * 3 + [True] * 58
    assert sparse(moe_layer_freq=2) == [i >= 3 and i % 2 == 0 for i in range(61)]
    assert sparse(moe_layer_freq=[0] + [1] * 60, first_k_dense_replace=0) == [False] + [True] * 60
    assert sparse(mlp_layer_types=["dense"] + ["sparse"] * 60) == [False] + [True] * 60


def test_uncompressed_queries_of_deepseek_v2_lite() -> None:
    direct = read(config("deepseek-v2", q_lora_rank=None)).layers[0].mixer
    down, up = (m for m in direct.matrices if m.operation in ("mla_down", "mla_up"))
    assert down.parameters == 5120 * 576
    assert up.parameters == 5120 * 128 * 192


def test_old_falcon_is_multi_query_whatever_num_kv_heads_says() -> None:
    assert read(config("falcon-7b", num_kv_heads=71)).layers[0].mixer.num_kv_heads == 1
    multi_head = read(config("falcon-7b", multi_query=False))
    assert multi_head.layers[0].mixer.num_kv_heads == 71


def test_sequential_falcon_has_two_all_reduces_and_norms() -> None:
    layer = read(config("falcon-7b", parallel_attn=False)).layers[0]
    assert (layer.all_reduces, layer.norm_parameters) == (2, 4 * 4544)


def test_command_r_serves_its_model_max_length() -> None:
    assert load_model("command-r").max_context_tokens == 131_072
    assert read(config("command-r", drop=("model_max_length",))).max_context_tokens == 8192


def test_qwen_next_layout_follows_its_interval() -> None:
    kinds = [m.kind for m in mixers(read(config("qwen3-next-80b-a3b", full_attention_interval=3)))]
    assert kinds[:6] == ["linear", "linear", "full"] * 2


def test_state_dtype_is_read_and_half_as_large_in_bf16() -> None:
    wide = load_model("minimax-text-01").layers[0].mixer.state_bytes
    narrow = read(config("minimax-text-01", mamba_ssm_dtype="bfloat16")).layers[0].mixer.state_bytes
    assert wide == 2 * narrow == 64 * 128 * 128 * 4


def test_dense_granite_has_one_mlp_a_layer() -> None:
    layer = read(config("granite-4.0-h-small", num_local_experts=0)).layers[0]
    assert [m.operation for m in layer.feed_forward] == ["mlp"]


def test_state_layers_keep_no_kv() -> None:
    kinds = {type(m) for m in mixers(load_model("jamba-1.5-mini"))}
    assert kinds == {StateMixer, Attention}
    assert {type(m) for m in mixers(load_model("deepseek-v3"))} == {LatentAttention}
