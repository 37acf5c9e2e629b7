"""Number formats of KV: bytes of a value with the scales beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KvDtype:
    """Bytes of a KV value, with the scales stored beside groups of values.

    ``group_values`` = 0: scales are per tensor and weigh nothing; -1: one group a head.
    """

    value_bytes: float
    group_values: int
    scale_bytes: float

    def bytes_per_value(self, head_dim: int) -> float:
        """Bytes of one value of a head of ``head_dim`` values, its share of the scale included."""
        group = head_dim if self.group_values == -1 else self.group_values
        return self.value_bytes + (self.scale_bytes / group if group else 0.0)


# fp8: per-tensor scale (vLLM --kv-cache-dtype fp8). int8: a float32 scale a token and head (vLLM int8_per_token_head).
# int4: groups of 64 with a bf16 scale and a bf16 zero point (asymmetric, as KIVI, arXiv 2402.02750); int4_scale: with
# the scale alone. kivi2: 2 bits, groups of 32 with a 16-bit scale and zero point (arXiv 2402.02750; group_size 32 in
# example.py of github.com/jy-yuan/KIVI; the newest 128 tokens, which stay in 16 bits, are left out). kvquant3: 3 bits
# by offline tables, and of 1 % of the values 16 bits and a 16-bit index (nuq3-1%, arXiv 2401.18079). wkvquant4: groups
# of 128 with a scale and a zero point (arXiv 2402.12065; the group is an assumption).
KV_DTYPES: dict[str, KvDtype] = {
    "bf16": KvDtype(2, 0, 0),
    "fp32": KvDtype(4, 0, 0),
    "fp8": KvDtype(1, 0, 0),
    "int8": KvDtype(1, -1, 4),
    "int4": KvDtype(0.5, 64, 4),
    "int4_scale": KvDtype(0.5, 64, 2),
    "kivi2": KvDtype(2 / 8, 32, 4),
    "kvquant3": KvDtype((3 + 0.01 * 32) / 8, 0, 0),
    "wkvquant4": KvDtype(0.5, 128, 4),
}
