"""The columns of every table: name, unit and meaning. One observation a row, no objects in cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class Column(NamedTuple):
    """One column: its name (ending in its unit), numpy dtype and meaning."""

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
    Column("queue_s", "float64", "admitted - arrival"),
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
    Column("kv_start_bytes", "float64", "KV blocks taken at the start"),
    Column("kv_end_bytes", "float64", "KV blocks taken at the end, before finished sequences let go"),
)

SPAN_COLUMNS = (
    Column("pairs", "float64", "query-key pairs of the first iteration"),
    Column("pairs_growth", "float64", "pairs more in each next iteration"),
    Column("touched_tokens", "float64", "KV tokens read or written in the first iteration"),
    Column("touched_growth_tokens", "float64", "KV tokens more in each next iteration"),
)

SESSION_COLUMNS = (
    Column("session", "int64", "conversation"),
    Column("turns", "int64", "turns that were finished"),
    Column("start_s", "float64", "arrival of its first turn"),
    Column("end_s", "float64", "end of its last finished turn"),
    Column("prompt_tokens", "int64", "prompt tokens of all turns"),
    Column("output_tokens", "int64", "output tokens of all turns"),
)


@dataclass(frozen=True)
class Table:
    """Named numpy columns of one length."""

    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        """One column."""
        return self.columns[name]

    def frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns)


def table(columns: Sequence[Column], rows: Sequence[Iterable[float]]) -> Table:
    """A table of these columns from rows of numbers in their order."""
    matrix = np.array(rows, dtype=float).reshape(len(rows), len(columns))
    return Table({c.name: matrix[:, i].astype(c.dtype) for i, c in enumerate(columns)})


def run_columns(num_spans: int) -> tuple[Column, ...]:
    """The columns of the run table of a model with that many attention kernels."""
    return RUN_COLUMNS + tuple(
        Column(f"{c.name}_{i}", c.dtype, f"{c.meaning}, attention kernel {i}")
        for c in SPAN_COLUMNS
        for i in range(num_spans)
    )
