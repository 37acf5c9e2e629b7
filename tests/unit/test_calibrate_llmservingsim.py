"""The reader of LLMServingSim's tables: shapes of the model, what runs alone, and what a chunk takes beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctxsim.calibrate import llmservingsim
from ctxsim.errors import SpecError


@pytest.fixture
def folder(tmp_path):
    """Two microseconds for everything but attention; three attention kernels alone and two mixed."""
    layers = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj", "embedding", "layernorm", "final_layernorm"]
    layers += ["rotary_emb", "act_fn"]
    tables = {
        "dense": {"layer": layers, "tokens": 10, "time_us": 2.0},
        "per_sequence": {"layer": ["lm_head", "sampler"], "sequences": 3, "time_us": 2.0},
        "attention": {
            "prefill_chunk": [0, 100, 200, 100, 200], "kv_prefill": [0, 50, 0, 50, 0], "n_decode": [4, 0, 0, 4, 8],
            "kv_decode": [1000, 0, 0, 1000, 500], "time_us": [7.0, 10.0, 20.0, 30.0, 40.0],
        },
    }  # fmt: skip
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def test_products_have_the_model_s_shapes_and_the_head_is_by_sequences(folder):
    rows = llmservingsim.read_gemm(folder)
    assert set(rows["seconds"]) == {2e-6}
    assert sorted(rows[["m", "n", "k"]].itertuples(index=False, name=None)) == [
        (3, 128_256, 4096), (10, 4096, 4096), (10, 4096, 14_336), (10, 6144, 4096), (10, 28_672, 4096),
    ]  # fmt: skip


def test_small_kernels_by_the_bytes_they_move(folder):
    rows = llmservingsim.read_elementwise(folder).set_index("variant")["moved_bytes"]
    assert rows.to_dict() == {
        "activation": 10 * 3 * 14_336 * 2, "embedding": 10 * 2 * 4096 * 2, "norm": 10 * 4 * 4096 * 2,
        "rotary": 10 * 2 * 40 * 128 * 2, "sampling": 3 * 128_256 * 2,
    }  # fmt: skip


def test_attention_alone_and_beside_a_chunk(folder):
    (decode,) = llmservingsim.read_decode(folder).to_dict("records")
    assert (decode["batch"], decode["context_tokens"], decode["seconds"]) == (4, 1000, 7e-6)
    prefill = llmservingsim.read_prefill(folder)
    assert prefill[["batch", "new_tokens", "past_tokens"]].values.tolist() == [[1, 100, 50], [1, 200, 0]]
    mixed = llmservingsim.read_mixed(folder)
    named = mixed[["batch", "context_tokens", "tokens", "beside_s", "seconds"]]
    assert named.values == pytest.approx(np.array([[4, 1000, 100, 1e-5, 3e-5], [8, 500, 200, 2e-5, 4e-5]]))
    assert set(mixed["variant"]) == {"bf16-128"}


def test_a_folder_without_the_tables_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"expected the table attention\.parquet, found none"):
        llmservingsim.read_mixed(tmp_path)
