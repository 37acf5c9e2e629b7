"""Models of no name, for passes that have to be of some model."""

from __future__ import annotations

from ctxsim.spec.document import Document
from ctxsim.spec.huggingface import read_config
from ctxsim.spec.model import ModelSpec


def small_decoder(hidden: int, mlp: int, layers: int, heads: tuple[int, int], words: int) -> ModelSpec:
    """A dense decoder made as a Llama is; ``heads``: of queries, and of keys and values."""
    config = {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers,
        "num_attention_heads": heads[0], "num_key_value_heads": heads[1], "vocab_size": words,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    return read_config(Document("", dict(config)), "a small decoder")
