"""Sizes and work of constant states: linear attention and state-space layers."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader

FLOP_PER_VALUE = 4
"""Per state value and token: one multiply-add to update the state, one to read it out (decay not counted)."""

DELTA_FLOP_PER_VALUE = 6
"""As `FLOP_PER_VALUE`, and one multiply-add more: the delta rule first retrieves what it is about to replace."""

CONV_BYTES = 2
"""Bytes of one value of a convolution state: bf16, as the activations it keeps."""

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def recurrent_bytes(reader: ConfigReader, values: int) -> int:
    """Bytes of that many recurrent state values, in the dtype of ``mamba_ssm_dtype`` (float32 unless given)."""
    dtype = reader.word("mamba_ssm_dtype")
    if dtype not in _DTYPE_BYTES:
        reader.unknown_word("mamba_ssm_dtype", dtype, _DTYPE_BYTES)
    return values * _DTYPE_BYTES.get(dtype, 1)


def conv_bytes(channels: int, kernel: int) -> int:
    """Bytes of a causal convolution's state: its last ``kernel - 1`` inputs."""
    return (kernel - 1) * channels * CONV_BYTES
