"""How readers call what keys name."""

from __future__ import annotations

LATENCY = {"ttft": "TTFT", "tpot": "TPOT"}
RESOURCES = {
    "users": "the users themselves",
    "arrivals": "the arrivals themselves",
    "compute": "FLOP/s",
    "hbm_bandwidth": "HBM bandwidth",
    "hbm_size": "HBM size",
    "hbm": "HBM bandwidth",
    "link": "the scale-up link",
    "network": "the network between scale-up domains",
    "host": "the host",
}
"""What can bind, by its name in the keys."""

FACTORS = {
    "peak_flop_per_s": "FLOP/s",
    "hbm_bytes": "HBM size",
    "hbm_bytes_per_s": "HBM bandwidth",
    "scale_up_bytes_per_s": "scale-up link",
    "scale_out_bytes_per_s": "network",
    "scale_out_latency_s": "latency of the network",
    "host_link_bytes_per_s": "host link",
    "host_memory_bytes_per_s": "host memory bandwidth",
    "host_kv_capacity_bytes": "host memory for KV",
    "accelerator_usd_per_s": "price of accelerators",
    "host_memory_usd_per_byte_s": "price of host memory",
    "think_time_s": "think time",
}
"""Numbers that can be made larger or smaller, where their keys do not read as words."""


def factor_words(name: str) -> str:
    """The number of that key in words."""
    return FACTORS.get(name, name.replace("_", " "))
