"""The hardware, model and schema commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import REQUESTS, answer, ctxsim
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from ctxsim.cli import commands
from ctxsim.cli.schemas import ANSWERS, FILES, schema_of
from ctxsim.spec import catalog
from ctxsim.spec.techniques import DIMENSIONS


def test_hardware_list_has_every_profile_and_host() -> None:
    result = answer("hardware", "list")["result"]
    assert [row["name"] for row in result["hardware"]] == catalog.names("hardware")
    assert [row["name"] for row in result["hosts"]] == catalog.names("host")
    text = ctxsim("hardware", "list").out
    for name in (*catalog.names("hardware"), *catalog.names("host")):
        assert re.search(rf"^{re.escape(name)} ", text, re.MULTILINE)
    assert list(answer("hardware", "list", "--hosts")["result"]) == ["hosts"]


@pytest.mark.parametrize("name", catalog.names("hardware"))
def test_hardware_show_gives_every_number_its_source(name: str) -> None:
    result = answer("hardware", "show", name)["result"]
    assert result["hbm_bytes"] <= result["hbm_nominal_bytes"]
    values = {row["field"]: row for row in (*result["values"], *result["host_values"])}
    assert values["accelerator.hbm_bytes"]["value"] == result["hbm_bytes"]
    assert values["accelerator.peak_flop_per_s.bf16"]["unit"] == "FLOP/s"
    assert values["price.accelerator"]["unit"] == "USD/s"
    for row in values.values():
        assert len(row["source"]) > len("paper"), row  # a key of the file's sources would be short


def test_hardware_show_takes_a_path_and_another_host(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(catalog.find("hardware", "h200-sxm").read_text())
    result = answer("hardware", "show", str(path), "--host", "grace")["result"]
    assert (result["name"], result["host_name"]) == ("h200-sxm", "grace")
    assert "h200-sxm in grace: NVIDIA H200" in ctxsim("hardware", "show", str(path), "--host", "grace").out


def test_model_list_has_every_model() -> None:
    rows = answer("model", "list")["result"]["models"]
    assert [row["name"] for row in rows] == catalog.names("model")
    assert all(row["num_active_parameters"] <= row["num_parameters"] for row in rows)


def test_model_show_of_a_users_own_config(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    result = answer("model", "show", str(folder / "config.json"))["result"]
    assert result["name"] == "my-model"
    assert result["num_parameters"] == 8_030_261_248  # as Llama-3.1-8B is published
    assert result["layer_kinds"] == {"full": 32}
    assert result["kv_bytes_per_token"] == 2 * 8 * 128 * 32 * 2
    assert result["state_bytes_per_sequence"] == 0
    assert result["kv_bytes_at"] == {str(n): n * 131_072 for n in (4096, 50_000, 131_072, 1_000_000)}
    assert "head_dim" in result["defaulted_fields"]
    assert answer("model", "show", str(folder))["result"] == result


def test_model_show_of_windows_and_states() -> None:
    gemma = answer("model", "show", "gemma-3-27b")["result"]
    assert gemma["layer_kinds"] == {"sliding 1024": 52, "full": 10}
    per_token = 2 * 16 * 128 * 2
    assert gemma["kv_bytes_at"]["50000"] == per_token * (10 * 50_000 + 52 * 1024)
    jamba = answer("model", "show", "jamba-1.5-mini")["result"]
    assert jamba["layer_kinds"] == {"ssm": 28, "full": 4}
    assert jamba["state_bytes_per_sequence"] > 0


@pytest.mark.parametrize("kind", FILES)
def test_schemas_are_draft_07_and_accept_what_ships(kind: str) -> None:
    schema = schema_of(kind)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "prefixItems" not in json.dumps(schema)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    paths = [catalog.find(kind, name) for name in catalog.names(kind)]  # type: ignore[arg-type]
    shipped = [path for path in paths if path.suffix == ".yaml"]
    assert shipped
    for path in shipped:
        contents = YAML(typ="safe", pure=True).load(path)
        if "price" in contents and "date" in contents["price"]:
            contents["price"]["date"] = str(contents["price"]["date"])  # a date to YAML, text to us
        assert [error.message for error in validator.iter_errors(contents)] == [], path
    assert list(validator.iter_errors({**contents, "nmae": "x"}))
    assert list(validator.iter_errors({key: value for key, value in contents.items() if key != "name"}))


def test_schemas_tell_quantities_from_numbers() -> None:
    scenario = YAML(typ="safe", pure=True).load(REQUESTS)
    validator = Draft7Validator(schema_of("scenario"))
    assert validator.is_valid(scenario)
    assert not validator.is_valid({**scenario, "slo": {"ttft": 1}})
    assert not validator.is_valid({**scenario, "serving": {"kv_dtype": "fp7"}})


def test_schema_names_are_readable() -> None:
    for kind in FILES:
        assert all(len(name) < 30 for name in schema_of(kind).get("$defs", {}))


def test_the_schema_command_prints_the_schema_itself() -> None:
    assert {kind.value for kind in commands.Description} == {*FILES, *ANSWERS}
    for kind in (*FILES, *ANSWERS):
        assert json.loads(ctxsim("schema", kind).out) == schema_of(kind) == answer("schema", kind)["result"]
    assert json.loads(ctxsim("schema").out) == schema_of("scenario")


def test_technique_list_has_every_technique_in_the_order_of_application() -> None:
    rows = answer("technique", "list")["result"]["techniques"]
    assert sorted(row["name"] for row in rows) == catalog.names("technique")
    places = [DIMENSIONS.index(row["dimension"]) for row in rows]
    assert places == sorted(places)
    text = ctxsim("technique", "list").out
    for name in catalog.names("technique"):
        assert re.search(rf"^{re.escape(name)} ", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["cla", "cla(layers_per_group=0)"])
def test_technique_show_has_the_kv_of_a_model(name: str) -> None:
    result = answer("technique", "show", name)["result"]
    groups = 60 if "(" in name else 2
    assert result["before"]["kv_bytes_at"]["1000000"] == 245_760_000_000
    assert result["after"]["kv_bytes_at"]["1000000"] == 245_760_000_000 / groups
    assert result["after"]["kv_bytes_per_token"] == 245_760 / groups
    assert {"stored", "read", "computed", "moved", "training", "needle", "claim"} <= set(result)
    assert "KV of yi-34b-200k" in ctxsim("technique", "show", name).out


def test_technique_show_says_where_it_is_none() -> None:
    for name, words in {
        "cla": "layers_per_group 1\n",
        "gqa": "num_kv_heads 0 (0: as many as the model has; more than there are is refused)\n",
        "prefix-cache": "enabled null (null: what the scenario says)\n",
    }.items():
        assert f"changes nothing at  {words}" in ctxsim("technique", "show", name).out


def test_a_technique_that_a_model_refuses_is_shown_with_another() -> None:
    outcome = ctxsim("technique", "show", "gqa", "--model", "deepseek-v3")
    assert outcome.code == 2
    assert "latent rows have no KV heads to share; name another with --model" in outcome.err
