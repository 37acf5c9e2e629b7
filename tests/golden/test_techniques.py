"""Techniques against arithmetic by hand: what each stores, reads, computes and moves.

techniques.csv, a row: technique (as in a scenario; several joined by " + "; none: the model as it is), model, quantity
(its context at the end, in tokens), inputs (tensor_parallel), expected, tolerance, arithmetic, source. Nobody ran the
code for it: ``arithmetic`` is the sum written out in numbers, ``source`` says what each is, and a test works the sum
out again. Yi-34B's numbers come from its 60 layers, hidden size 7168, 56 query and 8 KV heads of 128, feed-forward
20480 and 64,000 words: a layer's matrices have 51,380,224 (Q) + 14,680,064 (K and V) + 51,380,224 (out) + 440,401,920
= 557,842,432 weights, K and V of a token take 4,096 B in bf16, a query-key pair 28,672 FLOP. A decode step reads the
weights of all layers, the head (917,504,000 B), 121 norms (1,734,656 B) and one row of the table (14,336 B). Tolerances
above 1e-12 are where a formula is rounded on purpose: YOCO's last token attends to s - 1/2 tokens as the cost model
counts pairs.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pytest

import ctxsim
from ctxsim.cost import CostModel
from ctxsim.geometry import kv_bytes_per_token, state_bytes_per_sequence
from ctxsim.spec.catalog import names
from ctxsim.spec.scenario import Scenario

TABLE = Path(__file__).with_name("techniques.csv")
ROWS = list(csv.DictReader(TABLE.read_text().splitlines()))
GIB = 2.0**30

# One accelerator of the paper, a short document so that every model's window holds it; only amounts are asked for.
SETTINGS = {"serving.max_model_len": None, "workload.document_tokens": 1000}


@cache
def scenario(model: str, techniques: str, inputs: str = "") -> Scenario:
    settings = {f"deployment.{key}": int(value) for key, _, value in (one.partition("=") for one in inputs.split())}
    written = techniques.split(" + ") if techniques else []
    overrides = {"model": model, "techniques": written} | SETTINGS | settings
    return ctxsim.load("paper-34b-50k", overrides=overrides)


def found(row: dict[str, str]) -> float:
    loaded = scenario(row["model"], row["technique"], row["inputs"])
    cost, quantity = CostModel(loaded), row["quantity"]
    name, _, tokens = quantity.partition("_at_")
    at = int(tokens or 0)
    amounts = {
        "kv_bytes_per_token": lambda: kv_bytes_per_token(
            loaded.model, loaded.serving.kv_dtype, loaded.deployment.tensor_parallel
        ),
        "state_bytes": lambda: state_bytes_per_sequence(loaded.model),
        "weight_bytes": lambda: cost.memory.weight_bytes,
        "kv_bytes": lambda: cost.layout.held_bytes(at),
        "swap_bytes": lambda: 2 * cost.layout.held_bytes(at),
        "decode_bytes": lambda: cost.hbm_bytes(cost.batch(1, at - 1)),
        "prefill_flop": lambda: cost.flop(cost.batch(at, 0)),
    }
    return float(amounts[name]())


def label(row: dict[str, str]) -> str:
    return "-".join(filter(None, (row["technique"] or "none", row["model"], row["quantity"], row["inputs"])))


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_arithmetic_by_hand(row: dict[str, str]) -> None:
    expected = float(row["expected"])
    assert found(row) == pytest.approx(expected, rel=float(row["tolerance"]), abs=1e-9), row["source"]


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_the_sum_as_written_is_the_number_expected(row: dict[str, str]) -> None:
    assert re.fullmatch(r"[0-9.+*/() -]+", row["arithmetic"])
    assert eval(row["arithmetic"], {}) == pytest.approx(float(row["expected"]), rel=1e-15)
    assert row["source"]


@pytest.mark.parametrize("name", names("technique"))
def test_every_technique_has_two_rows(name: str) -> None:
    assert sum(row["technique"].partition("(")[0] == name for row in ROWS) >= 2


@pytest.mark.parametrize(
    ("techniques", "gib"),
    [
        ("", "228.9"),
        ("cla(layers_per_group=0)", "3.81"),
        ("cla(layers_per_group=0) + kv-int4-scale", "1.0133"),
        ("cla(layers_per_group=0) + kv-int4", "1.0729"),
    ],
)
def test_a_million_tokens_of_yi_34b(techniques: str, gib: str) -> None:
    """physics.md section 2: bf16, one shared layer of 60, and four bits on top with a scale, with a zero point too."""
    held = CostModel(scenario("yi-34b-200k", techniques)).layout.held_bytes(1_000_000) / GIB
    assert f"{held:.{len(gib.partition('.')[2])}f}" == gib
