"""Models small enough to compute in a test, and scenarios that serve them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ctxsim.spec.model import ModelSpec
from ctxsim.spec.models import load_model
from ctxsim.spec.scenario import Scenario, load_scenario

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 97, "max_position_embeddings": 4096,
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
"""Grouped heads and nothing else."""

OTHERS = {
    "llama tied": LLAMA | {"tie_word_embeddings": True, "num_key_value_heads": 1},
    "mistral windows": LLAMA | {"model_type": "mistral", "sliding_window": 24},
    "qwen2 biases": LLAMA | {"model_type": "qwen2", "use_sliding_window": False, "max_window_layers": 2},
    "qwen3 head norms": LLAMA | {"model_type": "qwen3", "head_dim": 16, "use_sliding_window": False},
}

SCENARIO = """\
name: tiny
model: ./model.json
hardware: a100-80gb-sxm
serving:
  max_model_len: 1024
  max_num_seqs: 8
  max_num_batched_tokens: 64
  num_gpu_blocks_override: 64
  host_kv_capacity: 2 MB
workload:
  kind: sessions
  users: 1
  num_sessions: 2
  document_tokens: 200
  rounds: 3
  question_tokens: 20
  answer_tokens: 10
  think_time: 1 s
run: {seed: 3}
"""


def model(config: Mapping[str, object], folder: Path) -> ModelSpec:
    """The model of that configuration."""
    path = folder / "model.json"
    path.write_text(json.dumps(dict(config)))
    return load_model(str(path))


def scenario(folder: Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario with the overrides set, for the plain model unless the folder has another one."""
    if not (folder / "model.json").exists():
        model(LLAMA, folder)
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO)
    return load_scenario(str(path), overrides)
