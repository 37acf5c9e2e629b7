"""The engine serves what a simulation serves, and says the same whatever it has to copy; needs torch."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from support import tiny  # noqa: E402

import ctxsim  # noqa: E402
from ctxsim.api.parquet import SavedTable, write_table  # noqa: E402
from ctxsim.errors import InfeasibleError, SpecError  # noqa: E402
from ctxsim.measure.sequences import Sequences  # noqa: E402
from ctxsim.measure.serving import serve  # noqa: E402
from ctxsim.measure.serving_support import check_served  # noqa: E402
from ctxsim.records import REQUEST_COLUMNS, TRANSFER_COLUMNS, run_columns  # noqa: E402

PRESSED = {"serving.num_gpu_blocks_override": 20, "workload.users": 3, "workload.num_sessions": 4}
"""Room for one session only."""


@pytest.fixture
def said(monkeypatch):
    """The tokens of every session that is over."""
    texts = {}

    def forget(self, session):
        texts[session] = list(self._tokens.pop(session))

    monkeypatch.setattr(Sequences, "forget", forget)
    return texts


def served(folder, overrides=None, **options):
    return serve(tiny.scenario(folder, overrides), device="cpu", dtype="fp32", **options).tables


def columns(table, *names):
    return [tuple(int(v) for v in row) for row in zip(*(table.column(n) for n in names), strict=True)]


def copies(table):
    return sorted(columns(table, "session", "source", "target", "tokens", "request"))


def decided(table):
    return columns(table, "request", "session", "turn", "prompt_tokens", "output_tokens", "preemptions",
                   "recomputed_tokens", "hbm_hit_tokens", "host_hit_tokens")  # fmt: skip


@pytest.mark.parametrize("residency", ["swap", "recompute", "keep"])
@pytest.mark.parametrize("overrides", [{}, {"serving.scheduler": "prefill_first"}, {"serving.block_size": 7}, {
    "serving.enable_prefix_caching": False}, {"workload.think_time": "0 s"}], ids=str)  # fmt: skip
def test_a_lone_user_gets_the_decisions_of_the_simulation(residency, overrides, tmp_path):
    scenario = tiny.scenario(tmp_path, {"serving.residency": residency, **overrides})
    tables, simulated = serve(scenario, device="cpu", dtype="fp32").tables, ctxsim.simulate(scenario, stepping="single")
    assert decided(tables["requests"]) == decided(simulated.tables["requests"])
    assert len(tables["runs"]) == simulated.summary["iterations"]
    assert tables["runs"].column("new_tokens").sum() == simulated.tables["runs"].column("new_tokens").sum()
    assert copies(tables["transfers"]) == copies(simulated.tables["transfers"])


@pytest.mark.parametrize("residency", ["swap", "recompute"])
def test_users_who_displace_each_other_while_they_think_do_so_as_in_the_simulation(residency, tmp_path):
    overrides = {"serving.residency": residency, "workload.think_time": "60 s"}
    scenario = tiny.scenario(tmp_path, PRESSED | overrides)
    tables, simulated = serve(scenario, device="cpu", dtype="fp32").tables, ctxsim.simulate(scenario)
    assert decided(tables["requests"]) == decided(simulated.tables["requests"])
    assert copies(tables["transfers"]) == copies(simulated.tables["transfers"])
    assert (residency == "swap") == (len(tables["transfers"]) > 0)


def test_swapped_and_recomputed_sessions_go_on_as_if_nothing_had_happened(said, tmp_path):
    served(tmp_path, PRESSED | {"serving.num_gpu_blocks_override": 400})
    undisturbed = dict(said)
    assert len(undisturbed) == 4
    for overrides in (
        {"serving.residency": "swap"},
        {"serving.residency": "swap", "serving.host_kv_capacity": "200 kB"},
        {"serving.residency": "recompute"},
        {"serving.residency": "swap", "workload.think_time": "0 s"},
        {"serving.num_gpu_blocks_override": 400, "workload.think_time": "0 s", "serving.max_num_batched_tokens": 300},
    ):
        said.clear()
        tables = served(tmp_path, PRESSED | overrides)
        assert said == undisturbed
        if overrides.get("serving.residency") == "swap":
            assert tables["requests"].column("host_hit_tokens").sum() > 0


@pytest.mark.parametrize("residency", ["swap", "recompute", "keep"])
def test_sessions_that_run_out_of_blocks_are_preempted_and_end_as_they_would_have(residency, said, tmp_path):
    busy = {
        "workload.users": 4, "workload.num_sessions": 4, "workload.document_tokens": 60, "workload.answer_tokens": 90,
        "workload.think_time": "0 s", "workload.rounds": 2, "serving.residency": residency,
    }  # fmt: skip
    served(tmp_path, busy | {"serving.num_gpu_blocks_override": 400})
    undisturbed = dict(said)
    said.clear()
    tables = served(tmp_path, busy | {"serving.num_gpu_blocks_override": 24})
    assert said == undisturbed
    assert tables["requests"].column("preemptions").sum() > 0


def test_an_answer_has_its_length_and_times_are_in_order(tmp_path):
    requests = served(tmp_path, PRESSED)["requests"].table().frame()
    assert len(requests) == 12
    for earlier, later in pairwise(("arrival_s", "admitted_s", "first_token_s", "finished_s")):
        assert (requests[earlier] <= requests[later]).all()
    swapped = requests[requests.host_hit_tokens > 0]
    assert (swapped.fetch_s > 0).all()
    assert (swapped.fetch_s <= swapped.ttft_s).all()


def test_bytes_are_those_that_were_there(tmp_path):
    transfers = served(tmp_path, PRESSED)["transfers"].table().frame()
    layers, kv_heads, head, fp32_bytes = 2, 2, 8, 4
    assert (transfers.moved_bytes == transfers.tokens * layers * 2 * kv_heads * head * fp32_bytes).all()
    assert (transfers.descriptors == layers).all()
    assert (transfers.ordered_s <= transfers.start_s).all()
    assert (transfers.start_s <= transfers.end_s).all()


def test_idle_time_is_skipped_or_really_waited_for(tmp_path):
    overrides = {"workload.rounds": 2, "workload.num_sessions": 1, "workload.think_time": "300 ms"}
    for skips_idle in (True, False):
        requests = served(tmp_path, overrides, skips_idle=skips_idle)["requests"].table().frame()
        gap_s = requests.arrival_s[1] - requests.finished_s[0]
        assert gap_s == pytest.approx(0.3)
        assert requests.admitted_s[1] - requests.arrival_s[1] < 0.2


def test_single_requests_and_the_horizon(tmp_path):
    scenario = tiny.scenario(tmp_path)
    text = tiny.SCENARIO.split("workload:")[0] + (
        "workload: {kind: requests, prompt_tokens: 50, output_tokens: 5, num_requests: 20, "
        "arrival: {kind: constant, rate: 2 /s}}\nrun: {horizon: 3.2 s}\n"
    )
    (tmp_path / "requests.yaml").write_text(text)
    scenario = ctxsim.load(tmp_path / "requests.yaml")
    finished = []
    tables = serve(scenario, device="cpu", dtype="fp32", progress=finished.append).tables
    assert len(tables["requests"]) == 7
    assert finished == list(range(1, 8))


def test_the_folder_has_the_tables_of_a_simulation(tmp_path):
    found = serve(tiny.scenario(tmp_path, PRESSED), device="cpu", dtype="fp32")
    found.save(tmp_path / "out", write_table)
    for name, expected in (("requests", REQUEST_COLUMNS), ("transfers", TRANSFER_COLUMNS), ("runs", run_columns(1))):
        saved = SavedTable.of(tmp_path / "out" / f"{name}.parquet")
        assert saved.names == tuple(c.name for c in expected)
        assert len(saved) == len(found.tables[name]) > 0
    meta = json.loads((tmp_path / "out" / "engine.json").read_text())
    assert meta["dtype"] == "fp32"
    assert meta["iterations"] == len(found.tables["runs"])
    assert ctxsim.load(tmp_path / "out" / "scenario.yaml").sha256 == found.scenario.sha256
    assert not list((tmp_path / "out").glob(".*"))


def test_too_long_requests_are_refused_and_counted(tmp_path):
    found = serve(tiny.scenario(tmp_path, {"serving.num_gpu_blocks_override": 10}), device="cpu", dtype="fp32")
    assert found.meta["rejected_requests"] == 6
    assert len(found.tables["requests"]) == 0


@pytest.mark.parametrize(("overrides", "message"), [
    ({"serving.residency": "cheapest"}, "serving.residency: expected one of swap, recompute, keep, found cheapest"),
    ({"deployment.replicas": 2}, "deployment.replicas: expected 1, for the engine runs on one device, found 2; set 1"),
    ({"deployment.tensor_parallel": 2}, "deployment.tensor_parallel: expected 1"),
    ({"serving.kv_dtype": "fp8"}, r"serving.kv_dtype: expected bf16 or fp32 .*, found fp8"),
    ({"workload.num_sessions": None}, "workload.num_sessions: expected a number of sessions or run.horizon"),
    ({"serving.disk_kv_capacity": "1 GB"}, "serving.disk_kv_capacity: expected 0 B .*, found 1e"),
])  # fmt: skip
def test_what_cannot_be_served_is_refused_with_what_would_do(overrides, message, tmp_path):
    with pytest.raises(SpecError, match=message):
        served(tmp_path, overrides)


def test_a_dtype_that_the_device_does_not_serve_is_refused(tmp_path):
    message = 'dtype: expected one of fp32, bf16, fp16 on cpu, found "fp23"; did you mean "fp32"'
    with pytest.raises(SpecError, match=re.escape(message)):
        serve(tiny.scenario(tmp_path), device="cpu", dtype="fp23")
    with pytest.raises(SpecError, match='dtype: expected one of bf16, fp16 on cuda, found "fp32"'):
        check_served(tiny.scenario(tmp_path), "cuda", "fp32")


def test_an_engine_in_bf16_serves_too(tmp_path):
    found = serve(tiny.scenario(tmp_path, PRESSED), device="cpu", dtype="bf16").tables
    assert len(found["requests"]) == 12
    transfers = found["transfers"].table().frame()
    assert (transfers.moved_bytes == transfers.tokens * 128).all()


def test_more_kv_than_the_device_has_is_infeasible(tmp_path):
    with pytest.raises(InfeasibleError, match=r"set serving.num_gpu_blocks_override and host_kv_capacity to what fits"):
        served(tmp_path, {"serving.num_gpu_blocks_override": 10**9})
