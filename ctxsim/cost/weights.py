"""Bytes of weights: stored in a replica, and streamed in one pass."""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.spec.model import Matrix, ModelSpec

BF16_BYTES = 2.0
FP32_BYTES = 4.0


@dataclass(frozen=True, slots=True)
class WeightDtype:
    """Bytes of one quantised weight with its share of scales, and the rate its products run at.

    ``compute``: the profile's peak that applies; where a device lacks it, weights are widened and bf16 applies.
    """

    bytes_per_weight: float
    compute: str


# fp8: a float32 scale per 128 x 128 block (DeepSeek-V3, arXiv 2412.19437, section 3.3). int8: a float32 scale per
# output channel, here per 4,096 inputs (LLM.int8(), arXiv 2208.07339). int4: groups of 128 with a 16-bit scale and a
# 4-bit zero point (GPTQ and AWQ checkpoints, arXiv 2306.00978); products run in bf16.
WEIGHT_DTYPES: dict[str, WeightDtype] = {
    "bf16": WeightDtype(BF16_BYTES, "bf16"),
    "fp32": WeightDtype(FP32_BYTES, "fp32"),
    "fp8": WeightDtype(1 + 4 / (128 * 128), "fp8"),
    "int8": WeightDtype(1 + 4 / 4096, "int8"),
    "int4": WeightDtype(0.5 + (2 + 0.5) / 128, "bf16"),
}


def plain_dtype(weight_dtype: str) -> str:
    """The format of activations and of what is never quantised (head, router, norms): fp32 where weights are."""
    return "fp32" if weight_dtype == "fp32" else "bf16"


def plain_bytes(weight_dtype: str) -> float:
    """Bytes of a value in that format."""
    return WEIGHT_DTYPES[plain_dtype(weight_dtype)].bytes_per_weight


def bytes_per_weight(matrix: Matrix, weight_dtype: str) -> float:
    """Bytes of one weight of a matrix."""
    return WEIGHT_DTYPES[weight_dtype if matrix.quantized else plain_dtype(weight_dtype)].bytes_per_weight


def copies(matrix: Matrix, tensor_parallel: int) -> float:
    """How many times a tensor-parallel group stores a matrix: 1 where it can be cut into that many pieces."""
    return 1.0 if matrix.max_shards is None else tensor_parallel / min(tensor_parallel, matrix.max_shards)


def matrix_bytes(matrix: Matrix, weight_dtype: str, tensor_parallel: int) -> float:
    """Bytes of a matrix (all experts) in one replica, summed over its ranks."""
    weights = matrix.parameters * bytes_per_weight(matrix, weight_dtype) + matrix.biases * plain_bytes(weight_dtype)
    return weights * copies(matrix, tensor_parallel)


def norm_bytes(model: ModelSpec, weight_dtype: str, tensor_parallel: int) -> float:
    """Bytes of all norm weights in one replica; every rank holds them."""
    in_layers = sum(layer.norm_parameters * number for layer, number in model.layer_counts.items())
    return (in_layers + model.final_norm_parameters) * plain_bytes(weight_dtype) * tensor_parallel


def model_bytes(model: ModelSpec, weight_dtype: str, tensor_parallel: int) -> float:
    """Bytes of all weights in one replica: layers, embedding (split by vocabulary), norms, the head unless tied."""
    layers = sum(
        matrix_bytes(matrix, weight_dtype, tensor_parallel) * number
        for layer, number in model.layer_counts.items()
        for matrix in layer.matrices
    )
    head = 0.0 if model.tied_head else matrix_bytes(model.head, weight_dtype, tensor_parallel)
    embedding = model.embedding_parameters * plain_bytes(weight_dtype)
    return layers + head + embedding + norm_bytes(model, weight_dtype, tensor_parallel)
