"""Seconds of measured kernels, links and hosts, as physical forms of a few coefficients; numpy only.

Every form is a function of a Device (the peaks of a profile), a Fit (coefficients of a calibration) and the sizes of
the operation, as numbers or as numpy arrays of one shape. Rates are coefficient x peak, so that a fit can be carried to
another device of the same architecture; times of launching, and of one tile, are seconds.
"""

from ctxsim.cost.curves.collective import all_reduce_s
from ctxsim.cost.curves.copy import copy_s
from ctxsim.cost.curves.decode import decode_attention_s
from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.elementwise import elementwise_s
from ctxsim.cost.curves.experts import experts_s
from ctxsim.cost.curves.gemm import gemm_s
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.host import host_s
from ctxsim.cost.curves.latent import latent_decode_s, latent_prefill_s
from ctxsim.cost.curves.linear import linear_attention_s
from ctxsim.cost.curves.masked import masked_prefill_s
from ctxsim.cost.curves.mixed import mixed_attention_s
from ctxsim.cost.curves.packed import packed_gemm_s
from ctxsim.cost.curves.prefill import prefill_attention_s
from ctxsim.cost.curves.serial import serial_decode_s
from ctxsim.cost.curves.sparse import sparse_attention_s

__all__ = [
    "Device",
    "all_reduce_s",
    "copy_s",
    "decode_attention_s",
    "elementwise_s",
    "experts_s",
    "gemm_s",
    "host_s",
    "latent_decode_s",
    "latent_prefill_s",
    "linear_attention_s",
    "log_ratio",
    "masked_prefill_s",
    "mixed_attention_s",
    "packed_gemm_s",
    "prefill_attention_s",
    "serial_decode_s",
    "sparse_attention_s",
]
