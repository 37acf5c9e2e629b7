"""The readers on the real traces: counts, means and extents as published with the data, exact times, reuse."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctxsim.workload import ThinkTimeSource, TraceSource, TraceTable, read_trace

Outside = Callable[..., TraceTable]

MOONCAKE = ("mooncake_conversation.jsonl.gz", "mooncake")
AGENTIC = ("agentic_coding.parquet", "agentic")


@pytest.fixture(scope="module")
def outside(outside_data: Path) -> Outside:
    """Reads one of the traces; the test is skipped where it is absent."""

    def read(name: str, trace_format: str, **changes: float) -> TraceTable:
        path = outside_data / "workloads" / name
        if not path.is_file():
            pytest.skip(f"needs the measured data: no {name} in the folder workloads of {outside_data}")
        return read_trace(path, trace_format, **changes)  # type: ignore[arg-type]

    return read


def found_share(table: TraceTable) -> float:
    """Share of all prompt tokens that an unlimited cache would find."""
    return sum(demand.reusable_tokens for demand in TraceSource(table).initial()) / int(table.prompt_tokens.sum())


def test_mooncake_conversation(outside: Outside) -> None:
    """Published with the data: 12,031 requests in an hour, mean 12,035 in and 343 out, at most 126K in."""
    table = outside(*MOONCAKE)
    assert len(table) == 12_031
    assert table.warnings == ()
    assert table.arrival_s[-1] == pytest.approx(3600, rel=0.02)
    assert round(table.prompt_tokens.mean()) == 12_035
    assert round(table.output_tokens.mean()) == 343
    assert round(table.prompt_tokens.max(), -3) == 126_000


def test_mooncake_hashes_cover_every_prompt(outside: Outside) -> None:
    table = outside(*MOONCAKE)
    assert np.array_equal(np.diff(table.block_offsets), -(-table.prompt_tokens // 512))
    assert (table.block_hashes[table.block_offsets[:-1]] == 0).all(), "all requests share their first block"


@pytest.mark.parametrize(("name", "requests"), [("code", 8_819), ("conv", 19_366)])
def test_azure(outside: Outside, name: str, requests: int) -> None:
    table = outside(f"AzureLLMInferenceTrace_{name}.csv.gz", "azure")
    assert len(table) == requests
    assert table.warnings == ()
    # One hour of traffic, stamped in ticks of 100 ns.
    assert 3400 < table.arrival_s[-1] < 3600
    ticks = table.arrival_s / 1e-7
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-4


def test_agentic_coding(outside: Outside) -> None:
    """Published with the data: 348 sessions, 21,798 requests, median 100K tokens in, at most 894K."""
    table = outside(*AGENTIC)
    assert len(table) == 21_798
    assert round(float(np.median(table.prompt_tokens)), -4) == 100_000
    assert round(table.prompt_tokens.max(), -3) == 894_000
    # 348 conversations that begin at 0, and 38 sub-agents that begin in the course of one.
    begins = table.turn == 0
    sent_out = table.begins_after >= 0
    assert (begins & ~sent_out).sum() == 348
    assert (table.arrival_s[begins & ~sent_out] == 0).all()
    assert (begins & sent_out).sum() == sent_out.sum() == 38
    assert (table.arrival_s[sent_out] >= table.arrival_s[table.begins_after[sent_out]]).all()


def test_agentic_think_times_are_the_pause_before_the_request(outside: Outside) -> None:
    """The rest of the gap since the request before is then its answer, which takes longer the longer it is."""
    table = outside(*AGENTIC)
    later = np.flatnonzero((table.turn > 0) & ~np.isnan(table.think_time_s))
    before = table.parent_id[later]
    answer_s = table.arrival_s[later] - table.arrival_s[before] - table.think_time_s[later]
    assert (answer_s >= 0).all()
    assert np.corrcoef(answer_s, table.output_tokens[before])[0, 1] > 0.8
    # As the pause after a request, to the next one, they would leave nothing of the kind.
    follows = np.flatnonzero(table.turn[later] > 1)
    wrong_s = (table.arrival_s[later] - table.arrival_s[before])[follows] - table.think_time_s[before[follows]]
    wrong_s = wrong_s[~np.isnan(wrong_s)]
    assert (wrong_s < 0).mean() > 0.2


def test_agentic_sub_agents_fit_the_pause_of_their_conversation(outside: Outside) -> None:
    """Placed behind the answer they stand behind, all of them send their last request before their sender goes on."""
    table = outside(*AGENTIC)
    next_turn = dict(zip(table.parent_id[table.turn > 0].tolist(), np.flatnonzero(table.turn > 0), strict=True))
    fitting = 0
    for row in np.flatnonzero(table.begins_after >= 0):
        goes_on = next_turn.get(int(table.begins_after[row]))
        if goes_on is not None:
            ends_s = table.arrival_s[table.session_id == table.session_id[row]].max()
            assert ends_s <= table.arrival_s[goes_on]
            fitting += 1
    assert fitting == 36, "two stand behind the last request of their conversation"


def test_agentic_prefixes_fit_the_turn_before(outside: Outside) -> None:
    """No prompt shares more with the turn before than that turn's prompt is long."""
    table = outside(*AGENTIC)
    later = np.flatnonzero(table.turn > 0)
    assert (table.shared_prefix_tokens[later] <= table.prompt_tokens[table.parent_id[later]]).all()
    assert (table.shared_prefix_tokens[table.turn == 0] == 0).all()


def test_first_requests_of_a_long_trace(outside: Outside) -> None:
    table = outside(*MOONCAKE, num_requests=100, time_scale=0.5)
    whole = outside(*MOONCAKE)
    assert table.arrival_s.tolist() == (whole.arrival_s[:100] / 2).tolist()
    assert table.block_hashes.tolist() == whole.block_hashes[: whole.block_offsets[100]].tolist()


def test_mooncake_hashes_identify_prefixes(outside: Outside) -> None:
    """No hash stands at two places of a prompt or behind two different ones: equal hashes are equal prefixes."""
    table = outside(*MOONCAKE)
    hashes, offsets = table.block_hashes, table.block_offsets
    place = np.arange(len(hashes)) - np.repeat(offsets[:-1], np.diff(offsets))
    before = np.where(place > 0, np.roll(hashes, 1), -1)
    assert len(np.unique(hashes)) == len(np.unique(np.stack((hashes, place, before)), axis=1).T) == 182_790


def test_mooncake_reuse(outside: Outside) -> None:
    """37 % of the prompt tokens stand in full blocks that came before, 33 % behind the first, which all share."""
    table = outside(*MOONCAKE)
    assert found_share(table) == pytest.approx(0.3734, abs=5e-5)
    demands = list(TraceSource(table).initial())
    behind_first = sum(demand.reusable_tokens - 512 for demand in demands[1:])
    assert behind_first / table.prompt_tokens.sum() == pytest.approx(0.3308, abs=5e-5)
    assert demands[0].reusable_tokens == 0
    assert all(512 <= demand.reusable_tokens < demand.prompt_tokens for demand in demands[1:])
    assert sum(demand.reusable_tokens == 512 for demand in demands) == 7_400
    assert not any(demand.last for demand in demands)
    for demand in demands:
        assert demand.hashes is not None
        assert len(demand.hashes) == demand.prompt_tokens // 512


def test_agentic_reuse(outside: Outside) -> None:
    """96 % of the prompt tokens were in the prompt of the turn before."""
    table = outside(*AGENTIC)
    assert found_share(table) == pytest.approx(0.9625, abs=5e-5)
    last = Counter(demand.session for demand in TraceSource(table).initial() if demand.last)
    assert last == Counter(range(386))


@pytest.mark.parametrize("service_s", [0.0, 5.0, 300.0])
def test_agentic_rows_are_all_released_once_at_the_pace_of_a_constant_server(
    outside: Outside, service_s: float
) -> None:
    table = outside(*AGENTIC)
    source = ThinkTimeSource(table)
    assert source.warnings[-1].startswith("1,842 of 21,412 later turns have no think time of use")
    busy = [(demand.arrival_s + service_s, demand.index, demand) for demand in source.initial()]
    assert len(busy) == 348
    released, turns_of = Counter(index for _, index, _ in busy), Counter(demand.session for _, _, demand in busy)
    while busy:
        finished_s, _, demand = heapq.heappop(busy)
        for following in source.after(demand, finished_s):
            assert following.arrival_s >= finished_s
            assert following.turn == turns_of[following.session]
            released[following.index] += 1
            turns_of[following.session] += 1
            heapq.heappush(busy, (following.arrival_s + service_s, following.index, following))
    assert released == Counter(range(len(table)))
