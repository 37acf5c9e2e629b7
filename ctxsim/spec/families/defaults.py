"""What each family's Hugging Face configuration class assumes for a key that config.json leaves out.

Source: the configuration classes of transformers 5.23.0 (``models/*/configuration_*.py``), unless a comment names
another. Only keys that published files really leave out; any other missing key is a fault. ``None`` means
"derived": ``head_dim`` from hidden size and heads, KV heads from heads, layer types from the family's pattern.
"""

from __future__ import annotations

from collections.abc import Mapping

_DENSE: Mapping[str, object] = {
    "head_dim": None,
    "num_key_value_heads": None,
    "attention_bias": False,
    "tie_word_embeddings": False,
}

_QWEN: Mapping[str, object] = {
    **_DENSE,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

_QWEN_MOE: Mapping[str, object] = {"decoder_sparse_step": 1}

# The recurrent state is kept in float32 by the reference code of these families; published files mostly leave
# the key out.
_STATE: Mapping[str, object] = {"mamba_ssm_dtype": "float32"}

_QWEN_HYBRID: Mapping[str, object] = {
    **_DENSE,
    **_QWEN_MOE,
    **_STATE,
    "head_dim": 256,
    "num_key_value_heads": 2,
    "layer_types": None,
    "full_attention_interval": 4,
    "attn_output_gate": True,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}

_MLA: Mapping[str, object] = {
    "attention_bias": False,
    "tie_word_embeddings": False,
    "moe_layer_freq": 1,
}

_INDEXER: Mapping[str, object] = {
    "index_topk": 2048,
    "index_head_dim": 128,
    "index_topk_pattern": None,
    "index_topk_freq": 1,
    "index_skip_topk_offset": 2,
}

_MAMBA: Mapping[str, object] = {
    **_STATE,
    "mamba_expand": 2,
    "mamba_d_conv": 4,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}

DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "llama": {**_DENSE, "mlp_bias": False},
    "mistral": {**_DENSE, "num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {**_DENSE, "num_key_value_heads": 8, "sliding_window": None},
    "phi3": {**_DENSE, "sliding_window": None},
    "qwen2": {**_QWEN, "num_key_value_heads": 32},
    "qwen3": {**_QWEN, "num_key_value_heads": 32, "head_dim": 128},
    "qwen3_moe": {**_QWEN, **_QWEN_MOE, "num_key_value_heads": 4},
    "qwen3_next": _QWEN_HYBRID,
    "qwen3_5_moe": _QWEN_HYBRID,
    "gemma2": {
        **_DENSE,
        "head_dim": 256,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "layer_types": None,
        "tie_word_embeddings": True,
    },
    "gemma3": {
        **_DENSE,
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "layer_types": None,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "gpt_oss": {
        **_DENSE,
        "head_dim": 64,
        "num_key_value_heads": 8,
        "sliding_window": 128,
        "layer_types": None,
        "attention_bias": True,
        "max_position_embeddings": 131_072,
    },
    "deepseek_v2": {**_MLA, "first_k_dense_replace": 0},
    "deepseek_v3": {**_MLA, "first_k_dense_replace": 3},
    "deepseek_v32": {**_MLA, **_INDEXER, "first_k_dense_replace": 3, "index_n_heads": 64},
    "kimi_k2": {**_MLA, "first_k_dense_replace": 3},
    "glm_moe_dsa": {**_MLA, **_INDEXER, "first_k_dense_replace": 3, "index_n_heads": 32},
    "llama4": {
        **_DENSE,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "intermediate_size_mlp": 16_384,
        "interleave_moe_layer_step": 1,
        "no_rope_layers": None,
        "no_rope_layer_interval": 4,
        "attention_chunk_size": 8192,
    },
    "jamba": {
        **_DENSE,
        **_MAMBA,
        "num_key_value_heads": 8,
        "mamba_d_state": 16,
        "mamba_dt_rank": "auto",
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "sliding_window": None,
    },
    "granitemoehybrid": {
        **_DENSE,
        **_MAMBA,
        "layer_types": None,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_head": "auto",
    },
    "minimax": {
        **_DENSE,
        **_STATE,
        "num_key_value_heads": 8,
        "sliding_window": None,
        # Of the original release's own configuration class (model_type minimax_text_01).
        "shared_intermediate_size": 0,
    },
    "falcon": {
        "num_key_value_heads": None,
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "num_ln_in_parallel_attn": None,
        "bias": False,
        "intermediate_size": None,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    "cohere": {
        **_DENSE,
        "use_qk_norm": False,
        "tie_word_embeddings": True,
        # Not a field of the class: the published files state the served window there, beside a
        # max_position_embeddings of 8192.
        "model_max_length": None,
    },
}
