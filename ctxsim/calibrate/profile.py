"""A hardware profile of a device that nobody has described: its peaks are the best rates that were measured.

Shares of such peaks say how far a kernel is from the best one, not from what a datasheet promises.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from ctxsim.calibrate.own import OwnFile
from ctxsim.errors import Fault, SpecError
from ctxsim.units import show

VALUE_BYTES: Mapping[str, int] = {"fp8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
"""Bytes of a value of each format that is measured."""

Rate = tuple[float, str]
"""The best one, in SI units, and of what it is."""


def profile_text(name: str, host: str, calibration: str | None, files: Sequence[OwnFile]) -> str:
    """The YAML of a profile of that name in that host; raises SpecError where a rate that it needs was not measured.

    peaks: the best product of each format. hbm_bytes_per_s: the best kernel that reads weights, or keys and values, or
    copies within the device (read and written). host_link: the best copy, one way. What cannot be measured so, power
    and price, is nothing, and says so.
    """
    rows = pd.concat([file.rows for file in files], ignore_index=True)
    meta, link = files[0].meta, "memory" if files[0].meta["kind"] == "cpu" else "measured"
    contents = {
        "name": name,
        "description": f"{meta['device']}, as measured: peaks are the best rates that were reached.",
        "vendor": "not said", "architecture": name, "form": meta["kind"],
        "sources": {
            "own": "; ".join(file.source for file in files),
            "system": f"what the system and torch say of {meta['device']}",
            "unknown": "not known: counts as nothing until somebody says",
        },
        "accelerator": {
            "peak_flop_per_s": {dtype: _sourced(rate, "flop_per_s") for dtype, rate in _peaks(rows).items()},
            "hbm_bytes": _told(meta["memory_bytes"]), "hbm_nominal_bytes": _told(meta["memory_bytes"]),
            "hbm_bytes_per_s": _sourced(_memory(rows), "bytes_per_s"),
            "on_chip_cache_bytes": _told(meta["cache_bytes"]),
            "compute_units": {"value": _units(meta), "source": "system"},
            "power_w": {"value": "0 W", "source": "unknown"},
        },
        "scale_up": {"kind": "free", "max_accelerators": {"value": 1, "source": "system"}},
        "host_link": {
            "kind": link, "bytes_per_s": _sourced(_link(rows), "bytes_per_s"),
            "shared_by": {"value": 1, "source": "system"},
        },
        "host": host,
        **({} if calibration is None else {"calibration": calibration}),
        "price": {"accelerator": {"value": "0 USD/hour", "source": "unknown"}, "date": "2026"},
    }  # fmt: skip
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 120
    yaml.dump(contents, stream)
    return stream.getvalue()


def _units(meta: Mapping[str, Any]) -> int:
    """Multiprocessors, of a CPU the threads that computed; files of earlier versions say only the latter."""
    found = meta.get("compute_units", meta["threads"] if meta["kind"] == "cpu" else None)
    if found is None:
        raise _missing("compute_units in the file's metadata")
    return int(found)


def _peaks(rows: pd.DataFrame) -> dict[str, Rate]:
    """Each format's best product."""
    gemms = rows[rows["family"] == "gemm"]
    found = {
        str(dtype): _best(group["flop"] / group["seconds"], group, "product of {m} x {k} and {k} x {n}")
        for dtype, group in gemms.groupby("dtype")
    }
    if "bf16" not in found:
        raise _missing("products in bf16")
    return found


def _memory(rows: pd.DataFrame) -> Rate:
    """The best kernel that does little but read or copy; operands are taken in turn, so that they come from memory."""
    products = rows[(rows["family"] == "gemm") & (rows["m"] == 1)]
    copies = rows[(rows["family"] == "copy") & (rows["direction"] == "device")]
    weights_bytes = products["dtype"].map(VALUE_BYTES) * products["n"] * products["k"]
    found = [
        _best(weights_bytes / products["seconds"], products, "product of one row with {k} x {n} weights"),
        _best(2 * copies["moved_bytes"] / copies["seconds"], copies, "copy of {moved_bytes} bytes, read and written"),
    ]
    return max(found)


def _link(rows: pd.DataFrame) -> Rate:
    """The best copy between device and host; of a CPU, within its memory."""
    copies = rows[rows["family"] == "copy"]
    over = copies[copies["direction"].isin(["to_host", "to_device"])]
    found = over if len(over) else copies
    return _best(found["moved_bytes"] / found["seconds"], found, "copy of {moved_bytes} bytes, one way")


def _best(rates: pd.Series, rows: pd.DataFrame, words: str) -> Rate:
    if rates.empty:
        raise _missing("copies and products of one row")
    row = rows.iloc[int(rates.argmax())]
    return float(rates.max()), words.format_map(dict(row))


def _sourced(rate: Rate, dimension: str) -> dict[str, Any]:
    return {"value": show(rate[0], dimension).replace(",", ""), "source": "own", "note": rate[1]}


def _told(amount_bytes: float) -> dict[str, Any]:
    return {"value": f"{int(amount_bytes)} B", "source": "system"}


def _missing(what: str) -> SpecError:
    message = f"expected {what}, found none; measure the device again, the families gemm and copy among others"
    return SpecError(Fault("", None, None, "profile", message))
