"""Everything that can be checked against a folder of outside tables, as sections of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ctxsim.calibrate import evaluate
from ctxsim.validate.errors import decade, error_table
from ctxsim.validate.page import Section, html, markdown, meanings
from ctxsim.validate.silicon import predict_silicon, read_silicon

TITLE = "Validation"
CALIBRATIONS = ("a100-80gb-sxm-vllm", "h200-sxm-vllm", "a100-80gb-sxm-vidur")
KV_DTYPES = ("fp8", "bf16")
LONGEST = "longest"
"""What splits are called that leave out the longest decade."""

KERNELS = (
    "Every prediction is of a whole shape that the fit did not see: a hidden size (all products with it on either "
    "side), a head geometry, a number of accelerators. The band is what the fit states for shapes it has not seen."
)
DECADES = (
    "Fits that have seen only the shorter rows, asked for the longest decade of each family; the band is the one that "
    "they state there."
)
SERVERS = (
    "Mean TTFT and TPOT of vLLM and TensorRT-LLM servers on H200 under closed-loop load, simulated with kernels alone: "
    "nothing is fitted to these rows, and nothing is taken from the servers but model, tensor parallelism, number "
    "format of the weights, lengths and concurrency. The table does not say in which format KV was kept, so both are "
    "shown; with bf16 the 32 clients of 8,192 tokens on one accelerator would not fit (TTFT 3.1 s measured, 20 s "
    "predicted). Rows of Llama-3.1-8B cannot be what they say: four of them would need 0.77 to 0.96 of the datasheet's "
    "fp8 peak for their prompts alone, where the best product measured on the device reaches 0.73 (1,453 of 1,979 "
    "TFLOP/s, github.com/stas00/ml-engineering); prompts that were cached would explain it."
)
OTHER_SERVERS = (
    "The same for models with experts, latent, sparse or linear attention; KV in fp8. They have no target. Not "
    "modelled: drafts of several tokens, experts spread over accelerators (the rows of Qwen3.5), checkpoints of which "
    "only the experts have four bits (Kimi-K2.5), what a host takes for each iteration and request (TTFT of short "
    "prompts), and products with scales for blocks. vLLM 0.12 takes 51 to 59 ms for a token of Qwen3-235B on two "
    "accelerators, with 4 clients as with 20: nothing that scales with work."
)
GROUPS = ("backend", "model", "kv_dtype", "latency")


def sections(folder: Path) -> list[Section]:
    """All checks that the folder has tables for."""
    return [*_kernels(folder), *_servers(folder)]


def write_pages(found: Sequence[Section], folder: Path) -> list[Path]:
    """``validation.md`` and ``validation.html``; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [folder / "validation.md", folder / "validation.html"]
    pages[0].write_text(markdown(TITLE, found), encoding="utf-8")
    pages[1].write_text(html(TITLE, found), encoding="utf-8")
    return pages


def kernel_tables(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors of left-out shapes by family, variant and range; those of the longest decade by family and variant."""
    longest = frame["split"].str.startswith(LONGEST)
    shapes = error_table(frame[~longest], ["family", "variant", "in_range"])
    return shapes, error_table(frame[longest], ["family", "variant"])


def context_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Errors of attention on left-out shapes by decade of context."""
    attention = frame[frame["family"].str.endswith("_attention") & (frame["context_tokens"] > 0)]
    attention = attention[~attention["split"].str.startswith(LONGEST)]
    return error_table(attention.assign(context=decade(attention["context_tokens"])), ["family", "variant", "context"])


def kernel_sections(name: str, frame: pd.DataFrame) -> Iterator[Section]:
    """What the predictions of a calibration's left-out shapes say."""
    shapes, longest = kernel_tables(frame)
    yield Section(f"{name}: shapes left out", f"{KERNELS} {meanings()}", shapes)
    if np.any(frame["context_tokens"] > 0):
        yield Section(f"{name}: attention by decade of context", KERNELS, context_table(frame))
    yield Section(f"{name}: the longest decade left out", DECADES, longest)


def server_sections(found: pd.DataFrame) -> Iterator[Section]:
    """What the predictions of servers say."""
    yield Section("Servers on H200: dense models", SERVERS, error_table(found, GROUPS))
    by_ranks = error_table(found[found["backend"] == "vllm"], ["model", "kv_dtype", "latency", "tp_size"])
    yield Section("vLLM on H200 by tensor parallelism", SERVERS, by_ranks)


def _kernels(folder: Path) -> Iterator[Section]:
    for name in CALIBRATIONS:
        yield from kernel_sections(name, evaluate(folder / "kernels", name))


def _servers(folder: Path) -> Iterator[Section]:
    table = folder / "serving" / "silicon_e2e" / "h200_sxm.csv"
    if table.exists():
        rows = read_silicon(table, "h200_sxm")
        dense = rows[rows["dense"]]
        found = [row for kv in KV_DTYPES for row in predict_silicon(dense, "h200-sxm", kv)]
        yield from server_sections(pd.DataFrame(found))
        others = pd.DataFrame(predict_silicon(rows[~rows["dense"]], "h200-sxm", KV_DTYPES[0]))
        yield Section("Servers on H200: other models", OTHER_SERVERS, error_table(others, GROUPS))
