"""What each request paid: for the runs that it was in, for copies of its KV, and for KV that it left."""

from __future__ import annotations

from ctxsim.engine import DISK, HBM, HOST
from ctxsim.metrics import BusyCharges
from ctxsim.records import MONEY_COLUMNS, Records, widened
from ctxsim.sim.charges import SWITCHING, Charges


def with_costs(requests: Records, busy: BusyCharges, charges: Charges) -> Records:
    """The requests with the columns of money."""
    index = requests["request"]
    number = len(busy.prefill_usd)
    paid = [busy.prefill_usd, busy.decode_usd, *(charges.usd(what, number) for what in (SWITCHING, HBM, HOST, DISK))]
    parts = [usd[index] for usd in paid]
    names = [column.name for column in MONEY_COLUMNS]
    return widened(requests, dict(zip(names, [*parts, sum(parts[1:], parts[0])], strict=True)))
