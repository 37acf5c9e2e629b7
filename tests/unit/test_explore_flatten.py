"""Nested numbers of a summary as columns of a sweep, however deep."""

from __future__ import annotations

from ctxsim.explore.outcomes import flatten


def test_names_of_nested_numbers_end_in_their_unit() -> None:
    money = {
        "bill_usd": 3.0,
        "parts_usd": {"prefill": 1.0, "idle": 2.0},
        "energy_billed": False,
        "tokens": {"output": 5},
    }
    assert flatten({"ttft_s": {"p95": 4.0}, "money": money, "gap": {"least": "swap"}}) == {
        "ttft_p95_s": 4.0,
        "money_bill_usd": 3.0,
        "money_parts_prefill_usd": 1.0,
        "money_parts_idle_usd": 2.0,
        "money_energy_billed": False,
        "money_tokens_output": 5,
    }
