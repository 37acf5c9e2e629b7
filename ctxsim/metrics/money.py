"""The fleet's bill of a simulation, divided exactly: what every second of every replica, and every byte, was for.

A replica's accelerators are paid for its whole time. While it computes, that is for prompts (prefill) or answers
(decode), see metrics.split; what copies beside it cost it is switching. While nothing is computed, but somebody waits
for a copy in or out of HBM, it is switching too. Else what lies in HBM holds its share of the KV pool, and the rest is
idle. Host memory and disk are paid for as they were set aside: what lies there holds, byte for byte, the rest is idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ctxsim.cost import (
    CostModel,
    disk_usd_per_s,
    energy_usd_per_s,
    fleet_usd_per_s,
    host_usd_per_s,
    power_w,
    replica_usd_per_s,
)
from ctxsim.cost.gaps import GapPrices
from ctxsim.cost.topology import DISK, HBM, HOST
from ctxsim.metrics.latency import describe
from ctxsim.metrics.split import BusyTime
from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario
from ctxsim.units import KWH_J, MILLION

PARTS = ("prefill", "decode", "switching", "holding_hbm", "holding_host", "holding_disk", "idle")

MONEY_DEFINITIONS = {
    "money": "the fleet's bill, divided exactly; in USD",
    "money.bill_usd": "price of all accelerators, and of the host memory and disk set aside for KV, for the duration; "
    "with price.energy_billed energy on top",
    "money.parts_usd": "the bill by what it was paid for; these parts sum to it",
    "money.parts_usd.prefill": "accelerators while they compute prompts; where they make tokens in the same iteration, "
    "the operations that prompts cause, reads of weights that both need evenly over the sequences",
    "money.parts_usd.decode": "accelerators while they make tokens, less the prompts' part of an iteration",
    "money.parts_usd.switching": "accelerators that compute nothing while somebody waits for a copy in or out of HBM "
    "(switching_usd.copy_wait), and the time by which copies slow iterations down (slow_down)",
    "money.parts_usd.holding_hbm": "the share of the KV pool that is kept for nobody being served, while nothing is "
    "computed or waited for",
    "money.parts_usd.holding_host": "KV that lies in host memory, byte for byte; holding_disk: on disk",
    "money.parts_usd.idle": "the rest: accelerators without work, host memory and disk set aside but empty (idle_usd)",
    "money.per_session_usd": "the bill and its parts a session that was completed; per_turn_usd: a turn that was "
    "served; per_million_input_tokens_usd, per_million_output_tokens_usd: a million tokens of prompts, of answers",
    "money.session_usd": "what completed sessions were charged each: their parts of the runs they were in, their "
    "copies, and the KV that they left; idle is nobody's, so that its mean is below cost_usd_per_session",
    "money.own_per_million_tokens_usd": "what tokens cost alone: prefill for those of prompts that were computed, "
    "switching and holding for those found in the cache, decode for those of answers; idle is nobody's",
    "money.energy_kwh": "at most: the board power (TDP) of all accelerators for the whole duration, hosts and cooling "
    "not counted; energy_usd: at price.energy",
}
"""Keys within ``money`` are dotted."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What replicas did while they computed nothing, and what they held, up to the end of the last request.

    idle_s: nothing was computed, and nobody waited for a copy. copy_wait_s: somebody did. idle_byte_s: what no request
    being served used in HBM during idle_s, times the time. held_byte_s: the same at all times, in HBM, host memory and
    on disk.
    """

    idle_s: float = 0.0
    copy_wait_s: float = 0.0
    idle_byte_s: float = 0.0
    held_byte_s: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def total(cls, parts: Sequence[Upkeep]) -> Upkeep:
        """Of several replicas together."""
        hbm, host, disk = (sum(part.held_byte_s[tier] for part in parts) for tier in (HBM, HOST, DISK))
        return cls(
            sum(part.idle_s for part in parts),
            sum(part.copy_wait_s for part in parts),
            sum(part.idle_byte_s for part in parts),
            (hbm, host, disk),
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """USD of a simulation by what they were paid for; see MONEY_DEFINITIONS."""

    prefill: float = 0.0
    decode: float = 0.0
    copy_wait: float = 0.0
    slow_down: float = 0.0
    holding_hbm: float = 0.0
    holding_host: float = 0.0
    holding_disk: float = 0.0
    idle_accelerators: float = 0.0
    idle_host: float = 0.0
    idle_disk: float = 0.0

    @classmethod
    def total(cls, bills: Sequence[Bill]) -> Bill:
        """Of several groups of replicas together."""
        return cls(**{part.name: sum(getattr(bill, part.name) for bill in bills) for part in fields(cls)})

    @property
    def parts_usd(self) -> dict[str, float]:
        """The parts that sum to the bill, in the order of PARTS."""
        holding = (self.holding_hbm, self.holding_host, self.holding_disk)
        idle = self.idle_accelerators + self.idle_host + self.idle_disk
        usd = (self.prefill, self.decode, self.copy_wait + self.slow_down, *holding, idle)
        return dict(zip(PARTS, usd, strict=True))


def group_bill(cost: CostModel, busy: BusyTime, upkeep: Upkeep, end_s: float) -> Bill:
    """The bill of one group of replicas up to ``end_s``."""
    prices, usd_per_s = GapPrices(cost.scenario, cost), replica_usd_per_s(cost.scenario)
    _, host_byte_s, disk_byte_s = upkeep.held_byte_s
    holding_hbm = prices.hold_usd(HBM, upkeep.idle_byte_s, 1.0)
    holding_host, holding_disk = prices.hold_usd(HOST, host_byte_s, 1.0), prices.hold_usd(DISK, disk_byte_s, 1.0)
    return Bill(
        prefill=usd_per_s * busy.prefill_s,
        decode=usd_per_s * busy.decode_s,
        copy_wait=usd_per_s * upkeep.copy_wait_s,
        slow_down=usd_per_s * busy.slowed_s,
        holding_hbm=holding_hbm,
        holding_host=holding_host,
        holding_disk=holding_disk,
        idle_accelerators=usd_per_s * upkeep.idle_s - holding_hbm,
        idle_host=host_usd_per_s(cost.scenario) * end_s - holding_host,
        idle_disk=disk_usd_per_s(cost.scenario) * end_s - holding_disk,
    )


def money(
    scenario: Scenario, bills: Sequence[Bill], requests: Records, session_usd: np.ndarray, end_s: float
) -> dict[str, Any]:
    """The key ``money`` of a summary. bills: of every group of replicas; session_usd: of every completed session."""
    bill, bill_usd = Bill.total(bills), fleet_usd_per_s(scenario) * end_s
    prompt, output = (int(np.sum(requests[name])) for name in ("prompt_tokens", "output_tokens"))
    cached = sum(int(np.sum(requests[f"{tier}_hit_tokens"])) for tier in ("hbm", "host", "disk"))
    parts = bill.parts_usd

    def each(number: float) -> dict[str, float | None]:
        return {"total": _per(bill_usd, number)} | {name: _per(usd, number) for name, usd in parts.items()}

    return {
        "bill_usd": bill_usd,
        "parts_usd": parts,
        "switching_usd": {"copy_wait": bill.copy_wait, "slow_down": bill.slow_down},
        "idle_usd": {"accelerators": bill.idle_accelerators, "host": bill.idle_host, "disk": bill.idle_disk},
        "per_session_usd": each(len(session_usd)),
        "session_usd": describe(session_usd),
        "per_turn_usd": each(len(requests)),
        "per_million_input_tokens_usd": each(prompt / MILLION),
        "per_million_output_tokens_usd": each(output / MILLION),
        "own_per_million_tokens_usd": _own(parts, (prompt - cached) / MILLION, cached / MILLION, output / MILLION),
        "tokens": {"computed_input": prompt - cached, "cached_input": cached, "output": output},
        "energy_kwh": power_w(scenario) * end_s / KWH_J,
        "energy_usd": energy_usd_per_s(scenario) * end_s,
        "energy_billed": scenario.price.energy_billed,
    }


def _own(parts: Mapping[str, float], computed: float, cached: float, output: float) -> dict[str, float | None]:
    """What a million tokens of each kind cost alone; null where there are none."""
    kept_usd = sum(parts[name] for name in ("switching", "holding_hbm", "holding_host", "holding_disk"))
    return {
        "computed_input": _per(parts["prefill"], computed),
        "cached_input": _per(kept_usd, cached),
        "output": _per(parts["decode"], output),
    }


def _per(usd: float, number: float) -> float | None:
    return usd / number if number else None
