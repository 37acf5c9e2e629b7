"""Models by name, file and folder, and our own explicit form."""

from pathlib import Path

import pytest

from ctxsim.errors import SpecError
from ctxsim.spec.catalog import find
from ctxsim.spec.model import Attention, LatentAttention, StateMixer
from ctxsim.spec.models import load_model

PAPER = """
name: a-model
source: a test
num_parameters: 34e9
num_layers: 60
hidden_size: 4096
max_context_tokens: 200000
attention: {kind: full, num_heads: 32, num_kv_heads: 8, head_dim: 128}
"""


def write(tmp_path: Path, text: str, name: str = "model.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def faults(path: str) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        load_model(path)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_a_folder_and_its_config_are_named_after_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-llama"
    folder.mkdir()
    (folder / "config.json").write_text(find("model", "llama-2-7b").read_text())
    by_folder = load_model(str(folder))
    assert by_folder == load_model(folder / "config.json")
    assert by_folder.name == "my-llama"
    assert by_folder.layers == load_model("llama-2-7b").layers


def test_unknown_names_and_other_files_are_refused(tmp_path: Path) -> None:
    assert 'did you mean "llama-2-7b"' in faults("llama2-7b")["model"]
    assert ".json" in faults(write(tmp_path, "x", "model.txt"))["model"]
    assert "check the path" in faults(str(tmp_path / "none.json"))[""]


@pytest.mark.parametrize("layers", [1, 7, 60])
def test_weights_of_the_layers_sum_to_the_total_exactly(tmp_path: Path, layers: int) -> None:
    model = load_model(write(tmp_path, PAPER.replace("num_layers: 60", f"num_layers: {layers}")))
    assert model.num_parameters == model.num_active_parameters == 34_000_000_000
    assert model.num_layers == layers
    assert model.embedding_parameters == model.head.total_parameters == 0


def test_paper_model_shares_one_geometry_over_all_layers() -> None:
    model = load_model("paper-34b")
    assert {layer.mixer for layer in model.layers} == {
        Attention("full", 32, 8, 128, 128, matrices=(), window_tokens=None)
    }
    assert len(model.layer_counts) == 2  # the remainder stands in the first layer


def test_latent_paper_model() -> None:
    mixer = load_model("paper-34b-mla").layers[0].mixer
    assert mixer == LatentAttention(32, 512, 64, 128, 128, matrices=())


def test_expert_sets_multiply_the_weights_and_route_a_few() -> None:
    model = load_model("paper-8x34b")
    assert model.num_parameters == 8 * 34_000_000_000
    assert model.num_active_parameters == 2 * 34_000_000_000
    assert {(m.experts, m.experts_per_token) for layer in model.layers for m in layer.matrices} == {(8, 2)}


def test_groups_of_layers_mix_kinds_in_order(tmp_path: Path) -> None:
    groups = """layers:
  - {count: 3, attention: {kind: linear, state_bytes: 1e6, state_flop_per_token: 0}}
  - {count: 1, attention: {kind: sliding, num_heads: 8, num_kv_heads: 2, head_dim: 64, window_tokens: 512}}
"""
    head = "\n".join(line for line in PAPER.splitlines() if not line.startswith(("attention", "num_layers")))
    mixers = [layer.mixer for layer in load_model(write(tmp_path, head + "\n" + groups)).layers]
    assert mixers[:3] == [StateMixer("linear", 1_000_000, 0, matrices=())] * 3
    assert (mixers[3].kind, mixers[3].window_tokens) == ("sliding", 512)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("num_kv_heads: 8", "num_kv_heads: 7", "attention.num_kv_heads"),
        ("kind: full", "kind: sliding", "attention.window_tokens"),
        ("head_dim: 128", "head_dim: 128, window_tokens: 9", "attention.window_tokens"),
        ("kind: full", "kind: fulll", "attention.kind"),
        ("kind: full, ", "", "attention.kind"),
        ("34e9", "34.5", "num_parameters"),
        ("34e9", "-1", "num_parameters"),
        ("34e9", "1e400", "num_parameters"),
        ("num_layers: 60", "num_layers: 0", "num_layers"),
        ("num_layers: 60", "num_layer: 60", "num_layer"),
        ("num_layers: 60", "", "layers"),
        ("source: a test", "", "source"),
        ("hidden_size", "experts: {num_experts: 2, experts_per_token: 3}\nhidden_size", "experts.experts_per_token"),
        ("hidden_size", "layers: []\nhidden_size", None),
    ],
)
def test_faults_of_the_explicit_form(tmp_path: Path, old: str, new: str, field: str | None) -> None:
    path = write(tmp_path, PAPER.replace(old, new))
    if field is None:
        assert load_model(path).num_layers == 60
    else:
        assert field in faults(path)
