"""A calibration made up for tests: round numbers, no device was measured."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.cost.curves.gemm import TILES, tile_name
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.scenario import Scenario

MODULE = {
    "launch_s": 5e-5, "flop_ratio": 0.6, "token_s": 1e-8, "head_s": 1e-9, "projection_flop_ratio": 0.7,
    "projection_hbm_ratio": 0.8,
}  # fmt: skip
FITS: dict[str, dict[str, float]] = {
    "gemm": {
        "launch_s": 4e-6, "hbm_ratio": 0.8, "sharpness": 3.0, "fill_values": 150.0,
        **{tile_name(*tile): 0.8 for tile in TILES},
    },
    "decode_attention": {
        "launch_s": 2e-5, "least_tokens": 16.0, "ramp_s": 1e-5, "ramp_ratio": 0.2, "hbm_ratio": 0.8, "unit_ratio": 1.2,
        "query_ratio": 0.5, "kv_head_s": 9e-9,
    },
    "prefill_attention": {
        "launch_s": 4e-6, "flop_ratio": 0.6, "lag_tokens": 64.0, "tail_ratio": 0.5, "slowdown_ratio": 0.07,
        "slowdown_s": 0.01, "query_ratio": 1.0, "kv_ratio": 0.3, "token_s": 1e-9,
    },
    "latent_decode": MODULE | {"hbm_ratio": 0.7},
    "latent_prefill": MODULE | {"launch_s": 8e-5},
    "sparse_attention": MODULE | {"index_ratio": 0.3, "index_hbm_ratio": 0.8, "gather_ratio": 0.5, "unit_ratio": 0.7},
    "linear_attention": {"launch_s": 5e-6, "unit_ratio": 0.1, "hbm_ratio": 0.6},
    "experts": {
        "launch_s": 3e-5, "expert_s": 1e-8, "padding_rows": 10.0, "flop_ratio": 0.5, "hbm_ratio": 0.8,
        "activation_ratio": 0.4, "sharpness": 3.0,
    },
    "mixed_attention": {
        "tile_s": 3e-6, "empty_s": 4e-7, "tail_ratio": 0.1, "flop_ratio": 0.6, "hbm_ratio": 0.7, "cache_ratio": 1.0,
        "sharpness": 2.0,
    },
    "elementwise": {"launch_s": 3e-6, "hbm_ratio": 0.8},
    "all_reduce": {
        f"{protocol}_{name}": value
        for protocol in ("small", "medium", "large")
        for name, value in (("latency_s", 1e-5), ("hop_s", 1e-6), ("ratio", 0.7))
    },
    "host": {"iteration_s": 1e-3, "sequence_s": 1e-5},
}  # fmt: skip
VARIANTS = {
    "decode_attention": ("bf16-64", "bf16-128"),
    "prefill_attention": ("bf16-64", "bf16-128"),
    "latent_decode": ("module-bf16-bf16", "module-bf16-fp8"),
    "latent_prefill": ("module-bf16-bf16", "module-bf16-fp8"),
    "sparse_attention": ("prefill-bf16-bf16", "decode-bf16-bf16", "prefill-bf16-fp8", "decode-bf16-fp8"),
    "linear_attention": ("chunked", "recurrent"),
    "experts": ("bf16", "fp8_block"),
    "mixed_attention": ("bf16-64", "bf16-128"),
    "elementwise": ("embedding", "norm", "rotary", "activation", "sampling"),
    "all_reduce": ("nccl",),
    "host": ("engine",),
}
MEASURED = (("m", 1.0, 8192.0), ("context_tokens", 1.0, 131_072.0))


def fit(family: str, spread_ratio: float = 0.05, spread_growth_ratio: float = 0.02) -> Fit:
    """The made-up fit of a family, in its first variant."""
    return fits(family, spread_ratio, spread_growth_ratio)[0]


def fits(family: str, spread_ratio: float = 0.05, spread_growth_ratio: float = 0.02) -> list[Fit]:
    """The made-up fits of all variants of a family, which are alike."""
    coefficients = tuple(FITS[family].items())
    return [
        Fit(family, variant, coefficients, MEASURED, spread_ratio, spread_growth_ratio)
        for variant in VARIANTS.get(family, ("bf16",))
    ]


def calibration(*left_out: str, hardware: str = "a100-80gb-sxm") -> Calibration:
    """Every family but those left out."""
    found = [fit for family in FITS if family not in left_out for fit in fits(family)]
    return Calibration("made-up", hardware, tuple(found))


def calibrated(scenario: Scenario, *left_out: str) -> Scenario:
    """The scenario at times of the made-up calibration, as if its device had been measured."""
    made_up = calibration(*left_out, hardware=scenario.hardware.name)
    return replace(scenario, fidelity="calibrated", calibration=made_up)
