"""Scenarios: what ships loads, what is wrong is refused with its place, and no input at all gives a traceback."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, ValidationError
from scenario_text import SCENARIO

from ctxsim.errors import SpecError
from ctxsim.spec import catalog
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import load_scenario, resolve_scenario
from ctxsim.spec.scenario_file import ScenarioFile

"""A good scenario; the other settings are defaults."""


@pytest.mark.parametrize("name", catalog.names("scenario"))
def test_every_shipped_scenario_loads_without_warning(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.warnings == ()
    assert hash(scenario) == hash(load_scenario(name))


@pytest.mark.parametrize("name", catalog.names("scenario"))
def test_a_scenario_written_out_loads_as_the_same(name, tmp_path):
    scenario = load_scenario(name)
    path = tmp_path / "elsewhere.yaml"
    path.write_text(scenario.to_yaml())
    again = load_scenario(path)
    assert again.sha256 == scenario.sha256
    assert again.serving == scenario.serving
    assert again.price == scenario.price


@pytest.mark.parametrize("name", catalog.names("scenario"))
def test_the_schema_for_editors_is_draft_7_and_accepts_what_ships(name):
    schema = ScenarioFile.model_json_schema()
    Draft7Validator.check_schema(schema)
    assert "prefixItems" not in str(schema)
    document = parse_document(catalog.find("scenario", name).read_text(), name)
    Draft7Validator(schema).validate(document.data)
    with pytest.raises(ValidationError):
        Draft7Validator(schema).validate({**document.data, "serving": {"host_kv_capacity": 5}})


def test_values_are_in_si_and_prices_come_from_the_profile_unless_given():
    text = SCENARIO + "slo: {ttft: 20 s, tpot: 100 ms}\nprice: {accelerator: 3.60 USD/hour}\n"
    scenario = resolve_scenario(parse_document(text, "s.yaml"))
    assert (scenario.slo.ttft, scenario.slo.tpot, scenario.workload.arrival.rate) == (20, 0.1, 2)
    assert scenario.price.accelerator_usd_per_s == pytest.approx(0.001)
    assert scenario.price.energy_usd_per_j == scenario.hardware.energy_usd_per_j


def test_defaults_are_those_of_the_design():
    scenario = resolve_scenario(parse_document(SCENARIO, "s.yaml"))
    serving = scenario.serving
    assert (serving.gpu_memory_utilization, serving.block_size, serving.max_num_seqs) == (0.92, 16, 256)
    assert (serving.max_num_batched_tokens, serving.weight_dtype, serving.residency) == (2048, "bf16", "swap")
    assert (serving.activation_peak, serving.runtime_reserve, serving.iteration_overhead) == ("auto", 2**30, 0)
    assert (scenario.deployment.router, scenario.run.seed, scenario.run.warmup) == ("round_robin", 0, "auto")


def test_a_session_that_outgrows_the_window_is_refused():
    with pytest.raises(SpecError) as caught:
        load_scenario("paper-34b-50k", {"serving.max_model_len": 51_249})
    assert str(caught.value).endswith(
        "workload.document_tokens: expected document + 5 x (question + answer) of at most max_model_len "
        "(51249 tokens), found 51250; shorten it or raise serving.max_model_len"
    )
    assert load_scenario("paper-34b-50k", {"serving.max_model_len": 51_250}).max_model_len == 51_250


def test_a_trace_is_found_beside_the_scenario_or_from_the_working_directory_when_set(tmp_path, monkeypatch):
    own = load_scenario("mooncake-replay")
    assert Path(own.workload.trace).is_file()
    (tmp_path / "mine.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    changed = load_scenario("mooncake-replay", {"workload.trace": "mine.jsonl"})
    assert Path(changed.workload.trace).resolve() == tmp_path / "mine.jsonl"
    assert changed.sha256 != own.sha256


def test_a_missing_trace_is_refused_by_the_override_that_names_it():
    with pytest.raises(SpecError) as caught:
        load_scenario("mooncake-replay", {"workload.trace": "no.jsonl"})
    assert str(caught.value) == (
        '--set workload.trace=no.jsonl: workload.trace: expected a trace file, found none at "no.jsonl"; check the path'
    )


def test_an_override_is_checked_as_the_file_is():
    changed = load_scenario("paper-34b-50k", {"hardware": "h100-80gb-sxm", "serving.kv_dtype": "fp8"})
    assert (changed.hardware.name, changed.serving.kv_dtype) == ("h100-80gb-sxm", "fp8")
    with pytest.raises(SpecError) as caught:
        load_scenario("yi-34b-50k-a100", {"hardware": "h100-80gb-smx", "deployment.tensor_parallel": "3"})
    assert str(caught.value) == (
        "--set deployment.tensor_parallel=3: deployment.tensor_parallel: "
        "expected a divisor of the 56 attention heads of yi-34b-200k, found 3; 1, 2, 4, 8, 56 would do\n"
        "--set hardware=h100-80gb-smx: hardware: expected the name of a hardware profile or a path to its file, "
        'found "h100-80gb-smx"; did you mean "h100-80gb-sxm"?'
    )


def test_another_host_goes_with_any_accelerator():
    host = next(name for name in catalog.names("host") if name != load_scenario("llama-8b-chat").hardware.host_name)
    assert load_scenario("llama-8b-chat", {"host": host}).hardware.host_name == host
    with pytest.raises(SpecError) as caught:
        load_scenario("llama-8b-chat", {"host": f"{host}x"})
    assert len(caught.value.faults) == 1
    assert f'did you mean "{host}"?' in str(caught.value)


def test_an_unusual_setting_is_a_warning_and_no_fault():
    scenario = load_scenario("llama-8b-chat", {"serving.max_model_len": 1_000_000})
    assert [warning.split(" ")[0] for warning in scenario.warnings] == ["serving.max_model_len"]


def test_the_digest_covers_contents_and_not_places(tmp_path):
    scenario = load_scenario("llama-8b-chat")
    copy = tmp_path / "copy.yaml"
    copy.write_text(catalog.find("scenario", "llama-8b-chat").read_text())
    assert load_scenario(copy).sha256 == scenario.sha256
    for change in ({"serving.kv_dtype": "fp8"}, {"run.seed": 1}, {"model": "yi-34b-200k"}, {"hardware": "paper-a100"}):
        assert load_scenario("llama-8b-chat", change).sha256 != scenario.sha256
    faster = replace(scenario, hardware=replace(scenario.hardware, hbm_bytes_per_s=1e13))
    assert faster.sha256 != scenario.sha256


def test_a_file_that_cannot_be_a_scenario_is_refused_by_name(tmp_path):
    for content in (b"", b"\x00\x01", b"- a\n", b"name: [", b"hello"):
        path = tmp_path / "s.yaml"
        path.write_bytes(content)
        with pytest.raises(SpecError) as caught:
            load_scenario(path)
        assert str(caught.value).startswith(f"{path}")


def test_loading_a_scenario_imports_nothing_heavy():
    code = (
        "import sys; from ctxsim.spec.scenario import load_scenario; load_scenario('paper-34b-50k');"
        "print(sorted({'numpy', 'pandas', 'matplotlib', 'scipy', 'simpy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_billed_energy_is_written_out_and_read_back(tmp_path):
    owned = load_scenario("llama-70b-mixed-fleet", {"price.energy_billed": True})
    assert [group.price.energy_billed for group in owned.fleet] == [True, True]
    path = tmp_path / "owned.yaml"
    path.write_text(owned.to_yaml())
    assert load_scenario(path).sha256 == owned.sha256 != load_scenario("llama-70b-mixed-fleet").sha256
