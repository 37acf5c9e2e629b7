"""The columns of every table: name, unit and meaning. One observation a row, no objects in cells."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column: its name (ending in its unit), numpy dtype (int64 or float64) and meaning."""

    name: str
    dtype: str
    meaning: str


REQUEST_COLUMNS = (
    Column("request", "int64", "index of the request in its workload, from 0"),
    Column("session", "int64", "conversation the request belongs to"),
    Column("turn", "int64", "turn within the session, from 0"),
    Column("replica", "int64", "replica that served it"),
    Column("prompt_tokens", "int64", "tokens of the prompt, whole context included"),
    Column("output_tokens", "int64", "tokens generated"),
    Column("arrival_s", "float64", "when it arrived"),
    Column("admitted_s", "float64", "when it first got its KV blocks"),
    Column("first_token_s", "float64", "when its prompt was computed: its first token, or its end if it has none"),
    Column("finished_s", "float64", "when its last token was made"),
    Column("preemptions", "int64", "times it lost its KV blocks while running"),
    Column("recomputed_tokens", "int64", "tokens whose KV was computed again after preemptions"),
    Column("reusable_tokens", "int64", "prompt tokens computed once before"),
    Column("hbm_hit_tokens", "int64", "prompt tokens found in HBM"),
    Column("host_hit_tokens", "int64", "prompt tokens found in host memory"),
    Column("disk_hit_tokens", "int64", "prompt tokens found on disk"),
    Column("queue_s", "float64", "admitted - arrival"),
    Column("fetch_s", "float64", "time from its first admission until its KV had been swapped in; 0 without a swap"),
    Column("ttft_s", "float64", "first token - arrival"),
    Column("tpot_s", "float64", "(last token - first token) / (output tokens - 1); null for fewer than two"),
    Column("e2e_s", "float64", "last token - arrival"),
)

RUN_COLUMNS = (
    Column("replica", "int64", "replica that ran it"),
    Column("start_s", "float64", "start of the first iteration"),
    Column("iterations", "int64", "equal iterations in a row"),
    Column("first_s", "float64", "duration of the first iteration"),
    Column("growth_s", "float64", "how much longer each next iteration takes"),
    Column("sequences", "int64", "sequences in the batch"),
    Column("decoding", "int64", "those of them that decode"),
    Column("new_tokens", "int64", "tokens computed in each iteration"),
    Column("decode_tokens", "int64", "tokens of sequences with one new token"),
    Column("waiting", "int64", "requests in the queue at the end"),
    Column("kv_start_bytes", "float64", "KV of requests being served, at the start; not what is still on its way in"),
    Column("kv_end_bytes", "float64", "the same at the end, before finished sequences let go"),
    Column("resumed", "int64", "decoding sequences whose first token of this run ended a pause that is listed apart"),
    Column("kv_idle_bytes", "float64", "HBM bytes of sessions that are not being served, at the end"),
    Column("host_bytes", "float64", "KV in host memory at the end"),
    Column("disk_bytes", "float64", "KV on disk at the end"),
)

SPAN_COLUMNS = (
    Column("pairs", "float64", "query-key pairs of the first iteration"),
    Column("pairs_growth", "float64", "pairs more in each next iteration"),
    Column("touched_tokens", "float64", "KV tokens read or written in the first iteration"),
    Column("touched_growth_tokens", "float64", "KV tokens more in each next iteration"),
)

MIXED_COLUMNS = (
    Column("decode_touched_tokens", "float64", "of touched tokens, those of who decodes while prompts are computed"),
    Column("decode_touched_growth_tokens", "float64", "of their growth, that of who decodes; 0 without prompts"),
)

SLOWED = Column("slowed_s", "float64", "how much longer the run took than it would have without copies beside it")

TRANSFER_COLUMNS = (
    Column("transfer", "int64", "index, in order of completion"),
    Column("replica", "int64", "replica whose KV was copied"),
    Column("session", "int64", "session whose KV was copied"),
    Column("request", "int64", "request it was ordered for; -1 for an eviction"),
    Column("source", "int64", "where from: 0 HBM, 1 host memory, 2 disk"),
    Column("target", "int64", "where to: 0 HBM, 1 host memory, 2 disk"),
    Column("tokens", "int64", "tokens whose KV was copied"),
    Column("moved_bytes", "float64", "bytes copied"),
    Column("descriptors", "int64", "contiguous pieces the copy was made of, of each rank"),
    Column("ordered_s", "float64", "when it was ordered"),
    Column("start_s", "float64", "when its set-up began"),
    Column("end_s", "float64", "when its last byte had arrived"),
    Column("kv_idle_bytes", "float64", "HBM bytes of sessions of its replica that are not being served, after it"),
    Column("host_bytes", "float64", "KV of its replica in host memory, after it"),
    Column("disk_bytes", "float64", "KV of its replica on disk, after it"),
)

GAP_COLUMNS = (
    Column("end_s", "float64", "when the next token was made"),
    Column("pause_s", "float64", "time since the last token; a pause within which the request made none"),
)

CHUNK_COLUMNS = (
    Column("request", "int64", "request whose prompt was computed"),
    Column("replica", "int64", "replica that did"),
    Column("run", "int64", "run of the replica, from 0"),
    Column("new_tokens", "int64", "tokens of it in each iteration of the run"),
    Column("past_tokens", "int64", "tokens before them in the first iteration"),
)

STAY_COLUMNS = (
    Column("request", "int64", "request that decoded"),
    Column("replica", "int64", "replica where it did"),
    Column("first_run", "int64", "first run of the replica, from 0, that it was in"),
    Column("end_run", "int64", "first run that it was not in any more"),
    Column("step_0_tokens", "int64", "KV tokens less the steps of the replica, iterations in which anyone decodes"),
)

SESSION_COLUMNS = (
    Column("session", "int64", "conversation"),
    Column("turns", "int64", "turns that were finished"),
    Column("start_s", "float64", "arrival of its first turn"),
    Column("end_s", "float64", "end of its last finished turn"),
    Column("prompt_tokens", "int64", "prompt tokens of all turns"),
    Column("output_tokens", "int64", "output tokens of all turns"),
)


MONEY_COLUMNS = (
    Column("prefill_usd", "float64", "its part of the accelerators while they compute prompts"),
    Column("decode_usd", "float64", "its part of the accelerators while they make tokens"),
    Column("switching_usd", "float64", "what copies of its KV in and out of HBM cost, waiting and slowed down"),
    Column("holding_hbm_usd", "float64", "KV that it used last, in HBM while nothing is computed or waited for"),
    Column("holding_host_usd", "float64", "KV that it used last, in host memory"),
    Column("holding_disk_usd", "float64", "KV that it used last, on disk"),
    Column("cost_usd", "float64", "all of these together: the bill less what is idle, summed over all"),
)
"""Further columns of the requests and of the sessions of a simulation, which knows what each was charged."""


def run_columns(num_spans: int) -> tuple[Column, ...]:
    """The columns of the run table of a model with that many attention kernels, simulated or measured."""
    return RUN_COLUMNS + _of_kernels(SPAN_COLUMNS, num_spans)


def simulated_run_columns(num_spans: int) -> tuple[Column, ...]:
    """The columns of the run table of a simulation, which knows more of its runs than can be measured."""
    return (*run_columns(num_spans), SLOWED, *_of_kernels(MIXED_COLUMNS, num_spans))


def _of_kernels(columns: tuple[Column, ...], num_spans: int) -> tuple[Column, ...]:
    return tuple(
        Column(f"{c.name}_{i}", c.dtype, f"{c.meaning}, attention kernel {i}")
        for c in columns
        for i in range(num_spans)
    )
