"""The transformer computes one and the same thing in whatever pieces; needs torch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from support import tiny  # noqa: E402

from ctxsim.errors import SpecError  # noqa: E402
from ctxsim.measure.transformer import EPSILON, Segment, Transformer, rotate, rotations, shape_of  # noqa: E402
from ctxsim.spec.models import load_model  # noqa: E402

CPU = torch.device("cpu")
CONFIGS = {"llama": tiny.LLAMA, **tiny.OTHERS}
TOKENS = [int(t) for t in torch.randint(97, (61,), generator=torch.Generator().manual_seed(5))]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def transformer(spec):
    return Transformer(spec, CPU, torch.float32, 256, seed=7)


def empty_cache(built, tokens=200):
    """A cache whose unwritten places would spoil every result that reads them."""
    return torch.full((built.num_layers, tokens, *built.cache_values()), float("nan"))


def passes(built, pieces, base=0, cache=None):
    """Logits after each of these pieces of one sequence."""
    cache = empty_cache(built) if cache is None else cache
    ends = [sum(pieces[: i + 1]) for i in range(len(pieces))]
    return [
        built.forward(cache, [Segment(base, end - new, TOKENS[end - new : end])])[0]
        for new, end in zip(pieces, ends, strict=True)
    ]


def by_hand(built, spec, tokens):
    """Logits after the last token, without a cache: every formula written out, scores and all."""
    shape = built.shape
    group = shape.heads // shape.kv_heads

    def norm(values, weights):
        return values / (values.pow(2).mean(-1, keepdim=True) + EPSILON).sqrt() * weights

    turns = rotations(len(tokens), shape.head, CPU, torch.float32)[:, None]
    ages = torch.arange(len(tokens))[:, None] - torch.arange(len(tokens))
    hidden = built._table[torch.tensor(tokens)]
    for weights, layer in zip(built._layers, spec.layers, strict=True):
        mixed = norm(hidden, weights.norm) @ weights.qkv.T + (0 if weights.qkv_bias is None else weights.qkv_bias)
        sizes = (shape.heads, shape.kv_heads, shape.kv_heads)
        q, k, v = mixed.view(len(tokens), -1, shape.head).split(sizes, dim=1)
        if weights.head_norm is not None:
            q, k = norm(q, weights.head_norm), norm(k, weights.head_norm)
        q, k = rotate(q, turns), rotate(k, turns)
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        unseen = (ages < 0) | (ages >= (layer.mixer.window_tokens or len(tokens)))
        scores = (torch.einsum("qhd,khd->hqk", q, k) / shape.head**0.5).masked_fill(unseen, float("-inf"))
        attended = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
        hidden = hidden + attended.reshape(len(tokens), -1) @ weights.out.T
        gate, up = (norm(hidden, weights.mlp_norm) @ weights.gate_up.T).chunk(2, dim=-1)
        hidden = hidden + (gate * gate.sigmoid() * up) @ weights.down.T
    return norm(hidden[-1], built._norm) @ built._head.T


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_chunks_are_the_whole_prompt_is_no_cache(config, tmp_path):
    spec = tiny.model(config, tmp_path)
    built = transformer(spec)
    whole = by_hand(built, spec, TOKENS)
    for pieces in ([61], [32, 29], [7, 30, 1, 22, 1], [1] * 61):
        torch.testing.assert_close(passes(built, pieces)[-1], whole, **CLOSE)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_batch_gives_what_each_of_its_sequences_gives_alone(config, tmp_path):
    built = transformer(tiny.model(config, tmp_path))
    alone = [passes(built, pieces)[-1] for pieces in ([40, 1], [30, 20], [61])]
    cache = empty_cache(built)
    passes(built, [40], base=16, cache=cache)
    passes(built, [30], base=64, cache=cache)
    batch = [Segment(16, 40, TOKENS[40:41]), Segment(64, 30, TOKENS[30:50]), Segment(128, 0, TOKENS)]
    torch.testing.assert_close(built.forward(cache, batch), torch.stack(alone), **CLOSE)


def test_tokens_beyond_the_window_do_not_count_and_those_within_do(tmp_path):
    built = transformer(tiny.model(tiny.OTHERS["mistral windows"] | {"num_hidden_layers": 1}, tmp_path))
    cache = empty_cache(built)
    passes(built, [40], cache=cache)
    cache[:, : 41 - 24] = float("nan")
    one = built.forward(cache, [Segment(0, 40, TOKENS[40:41])])
    assert one.isfinite().all()
    cache[:, 41 - 24] = float("nan")
    assert built.forward(cache, [Segment(0, 40, TOKENS[40:41])]).isnan().any()


def test_shapes_are_those_of_the_model():
    shape = shape_of(load_model("llama-3.1-8b"))
    assert (shape.hidden, shape.heads, shape.kv_heads, shape.head, shape.mlp) == (4096, 32, 8, 128, 14336)
    assert shape.qkv == 6144


@pytest.mark.parametrize(
    "name", ["llama-2-7b", "llama-3.1-70b", "mistral-7b", "qwen2.5-7b", "qwen3-32b", "yi-34b-200k"]
)
def test_dense_models_can_be_served(name):
    assert shape_of(load_model(name)).mlp > 0


@pytest.mark.parametrize(
    "name", ["mixtral-8x7b", "deepseek-v3", "gemma-2-27b", "falcon-7b", "paper-34b", "gpt-oss-20b"]
)
def test_other_models_are_refused(name):
    with pytest.raises(SpecError, match=rf"model: expected a dense decoder .*, found {name} .*; take one of"):
        shape_of(load_model(name))


def test_weights_keep_the_size_of_activations(tmp_path):
    built = transformer(tiny.model(tiny.LLAMA | {"num_hidden_layers": 40}, tmp_path))
    logits = passes(built, [61])[-1]
    assert 0.1 < logits.std() < 10
