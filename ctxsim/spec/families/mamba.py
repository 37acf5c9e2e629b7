"""Mamba and Mamba-2 mixers, as the hybrid families use them."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families.states import FLOP_PER_VALUE, conv_bytes, recurrent_bytes
from ctxsim.spec.model import Matrix, StateMixer

MAMBA1_RANK_DIVISOR = 16
"""``mamba_dt_rank: auto`` is the hidden size over 16, rounded up (Mamba, arXiv 2312.00752, section 3.6)."""


def mamba1(reader: ConfigReader) -> tuple[StateMixer, int]:
    """A Mamba mixer with Jamba's three inner norms, and how many weights those norms have.

    State: ``d_state`` values a channel. Counted as biases: convolution, step offsets, decay rates, skip weights.
    """
    hidden_size, state = reader.integer("hidden_size"), reader.integer("mamba_d_state")
    kernel = reader.integer("mamba_d_conv")
    channels = reader.integer("mamba_expand") * hidden_size
    rank = dt_rank(reader, hidden_size)
    bias = reader.flag("mamba_proj_bias")
    into = 2 * hidden_size * channels + channels * (rank + 2 * state) + rank * channels
    extra = channels * (kernel + reader.flag("mamba_conv_bias") + 1 + state + 1)
    mixer = StateMixer(
        "ssm",
        recurrent_bytes(reader, channels * state) + conv_bytes(channels, kernel),
        FLOP_PER_VALUE * channels * state,
        (
            Matrix("state_in", into, extra + (2 * channels if bias else 0)),
            Matrix("state_out", channels * hidden_size, hidden_size if bias else 0),
        ),
    )
    return mixer, rank + 2 * state


def dt_rank(reader: ConfigReader, hidden_size: int) -> int:
    """The rank of the step-size projection, a number or ``auto``."""
    if reader.raw("mamba_dt_rank") == "auto":
        return -(-hidden_size // MAMBA1_RANK_DIVISOR)
    return reader.integer("mamba_dt_rank")


def mamba2(reader: ConfigReader) -> tuple[StateMixer, int]:
    """A Mamba-2 mixer (arXiv 2405.21060), and how many weights its gated norm has.

    State: head size x ``d_state`` values a head. Input and output rows B and C are shared by the heads of a group,
    and cannot be split finer than the groups.
    """
    hidden_size, state = reader.integer("hidden_size"), reader.integer("mamba_d_state")
    heads, groups = reader.integer("mamba_n_heads"), reader.integer("mamba_n_groups")
    kernel, conv_bias = reader.integer("mamba_d_conv"), reader.flag("mamba_conv_bias")
    channels = reader.integer("mamba_expand") * hidden_size
    _check_head_dim(reader, heads, channels)
    bias = reader.flag("mamba_proj_bias")
    rows = 2 * groups * state
    own = 2 * channels + heads
    mixer = StateMixer(
        "ssm",
        recurrent_bytes(reader, channels * state) + conv_bytes(channels + rows, kernel),
        FLOP_PER_VALUE * channels * state,
        (
            # The gated input, and one step size a head; a step offset, decay rate and skip weight a head.
            Matrix(
                "state_in",
                hidden_size * own,
                channels * (kernel + conv_bias) + 3 * heads + (own if bias else 0),
                max_shards=heads,
            ),
            Matrix(
                "state_in",
                hidden_size * rows,
                rows * (kernel + conv_bias) + (rows if bias else 0),
                max_shards=groups,
            ),
            Matrix("state_out", channels * hidden_size, hidden_size if bias else 0, max_shards=heads),
        ),
    )
    return mixer, channels


def _check_head_dim(reader: ConfigReader, heads: int, channels: int) -> None:
    """``mamba_d_head`` times the heads must be the channels; ``auto`` makes it so."""
    if reader.raw("mamba_d_head") == "auto":
        holds = channels % heads == 0
        reader.require(holds, "mamba_n_heads", f"expected a divisor of {channels} channels, found {heads}")
    else:
        head_dim = reader.integer("mamba_d_head")
        message = f"expected {channels} channels over {heads} heads, found {head_dim} a head"
        reader.require(head_dim * heads == channels, "mamba_d_head", message)
