"""From a model's matrices and layers to the operations of a pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ctxsim.cost.operations import Operation, Rates
from ctxsim.cost.weights import bytes_per_weight, copies, matrix_bytes, norm_bytes, plain_bytes
from ctxsim.geometry import ContextClass, Span, geometry_of
from ctxsim.spec.model import Attention, LatentAttention, Layer, Matrix, ModelSpec, StateMixer

# Ring all-reduce: each rank sends its share in a reduce-scatter and again in an all-gather
# (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009).
RING_PASSES = 2
LATENT_UP_PROJECTION = "mla_kv_up"


def spans_of(classes: tuple[ContextClass, ...]) -> tuple[Span, ...]:
    """Every kernel's span in the order in which batch totals list them."""
    return tuple(span for c in classes for span in c.spans)


def compile_operations(
    model: ModelSpec, classes: tuple[ContextClass, ...], weight_dtype: str, tensor_parallel: int, rates: Rates,
    domains: int = 1,
) -> tuple[Operation, ...]:  # fmt: skip
    """All operations of one pass, those of one name and kernel merged, in the order of the pass.

    domains: scale-up domains that the tensor-parallel group fills.
    """
    pieces = [
        *_embedding(model, weight_dtype, rates),
        *_layer_matrices(model, classes, weight_dtype, tensor_parallel, rates),
        *_attention(classes, tensor_parallel, rates),
        *_states(model, rates),
        *_norms(model, weight_dtype, tensor_parallel, rates),
        *_head(model.head, weight_dtype, tensor_parallel, rates),
        *_all_reduce(model, weight_dtype, tensor_parallel, domains),
    ]
    merged: dict[tuple[str, int | None, int, int], Operation] = {}
    for piece in pieces:
        key = (piece.name, piece.span, piece.experts, piece.experts_per_token)
        merged[key] = merged[key].merged(piece) if key in merged else piece
    return tuple(merged.values())


def _embedding(model: ModelSpec, weight_dtype: str, rates: Rates) -> Iterator[Operation]:
    if model.embedding_parameters:
        yield Operation(
            "embedding", rates.plain_flop_per_s, bytes_per_token=model.hidden_size * plain_bytes(weight_dtype)
        )


def _layer_matrices(
    model: ModelSpec, classes: tuple[ContextClass, ...], weight_dtype: str, tensor_parallel: int, rates: Rates
) -> Iterator[Operation]:
    for layer, number in model.layer_counts.items():
        for matrix in layer.matrices:
            if matrix.operation == LATENT_UP_PROJECTION:
                span = _expanding_span(layer, classes)
                product = _latent_up_product(matrix, number, span, weight_dtype, tensor_parallel, rates)
            else:
                product = _product(matrix, number, weight_dtype, tensor_parallel, rates)
            yield replace(product, name=layer.named(product.name), per_sequence=layer.last_token_only)


def _expanding_span(layer: Layer, classes: tuple[ContextClass, ...]) -> int | None:
    """The kernel that computes prompts of such latent layers; None where one kernel does all."""
    assert isinstance(layer.mixer, LatentAttention)
    geometry = geometry_of(layer.mixer)
    of = [(c, span) for c in classes for span in c.spans]
    alike = (i for i, (c, span) in enumerate(of) if span.phase == "prefill" and geometry_of(c.mixer) == geometry)
    return next(alike, None)


def _product(matrix: Matrix, layers: int, weight_dtype: str, tensor_parallel: int, rates: Rates) -> Operation:
    """A weight matrix times every new token; routed experts read only the distinct ones."""
    if matrix.table_bits:
        return _table(matrix, layers, weight_dtype, tensor_parallel, rates)
    stored = layers * matrix_bytes(matrix, weight_dtype, tensor_parallel)
    routed = matrix.experts > 1
    used = matrix.parameters * matrix.experts_per_token / matrix.experts
    return Operation(
        matrix.operation,
        rates.weight_flop_per_s if matrix.quantized else rates.plain_flop_per_s,
        flop_per_token=2 * layers * used * copies(matrix, tensor_parallel) * matrix.token_ratio,
        bytes_per_pass=0.0 if routed else stored,
        expert_bytes=stored if routed else 0.0,
        experts=matrix.experts,
        experts_per_token=matrix.experts_per_token,
    )


def _table(matrix: Matrix, layers: int, weight_dtype: str, tensor_parallel: int, rates: Rates) -> Operation:
    """Tables in place of a product: every token reads rows of its own and adds them up, one FLOP a value.

    Source: MemoryFormer, arXiv 2411.12992: d h / tau values for d x h weights and tau bits.
    """
    rows = layers * matrix.parameters / 2**matrix.table_bits * copies(matrix, tensor_parallel)
    return Operation(
        f"{matrix.operation} tables",
        rates.plain_flop_per_s,
        flop_per_token=rows,
        bytes_per_token=rows * bytes_per_weight(matrix, weight_dtype),
        bytes_per_pass=layers * matrix.biases * plain_bytes(weight_dtype),
    )


def _latent_up_product(
    matrix: Matrix, layers: int, prefill_span: int | None, weight_dtype: str, tensor_parallel: int, rates: Rates
) -> Operation:
    """The up-projection of latent attention.

    Absorbed into query and output it is one product a new token. Without an indexer, prefill instead expands every
    latent row that it touches, past ones in every chunk again (DeepSeek-V2, arXiv 2405.04434, section 2.1.2).
    """
    flop = 2.0 * layers * matrix.parameters
    return Operation(
        matrix.operation,
        rates.weight_flop_per_s if matrix.quantized else rates.plain_flop_per_s,
        flop_per_token=flop if prefill_span is None else 0.0,
        flop_per_decode_token=0.0 if prefill_span is None else flop,
        bytes_per_pass=layers * matrix_bytes(matrix, weight_dtype, tensor_parallel),
        span=prefill_span,
        flop_per_touched=0.0 if prefill_span is None else flop,
    )


def _attention(classes: tuple[ContextClass, ...], tensor_parallel: int, rates: Rates) -> Iterator[Operation]:
    index = 0
    for c in classes:
        for read in c.reads:
            flop = c.layers * _flop_per_pair(c, read.span) * (tensor_parallel if c.rows == "index" else 1)
            flop *= read.pair_ratio
            yield Operation(
                attention_name(c, read.span),
                rates.plain_flop_per_s,
                span=index,
                flop_per_pair=0.0 if read.last_query else flop,
                flop_per_touched=flop if read.last_query else 0.0,
                bytes_per_touched=c.read_bytes_per_token * read.touched_ratio,
            )
            index += 1


def attention_name(c: ContextClass, span: Span) -> str:
    """What a kernel is called in breakdowns."""
    return f"attention {c.name}" if span.phase == "any" else f"attention {c.name} {span.phase}"


def _flop_per_pair(c: ContextClass, span: Span) -> float:
    """FLOP of one query-key pair in one layer: the scores and the weighted sum, over all heads.

    Latent attention in decode, and where an indexer selects rows, works on the latent rows themselves (rank + rope
    for the scores, rank for the sum); in dense prefill on expanded heads. An indexer scores with its own few heads. Of
    pages every query head scores the summaries: a pair is a query and a token's part of one.
    """
    mixer = c.mixer
    if c.rows == "pages":
        assert mixer.keeping.selection is not None
        return 2.0 * mixer.num_heads * mixer.keeping.selection.values_per_page / mixer.keeping.selection.page_tokens
    if isinstance(mixer, Attention):
        return 2.0 * mixer.num_heads * (mixer.qk_head_dim + mixer.v_head_dim)
    if c.rows == "index":
        return 2.0 * mixer.index_num_heads * mixer.index_head_dim
    if span.phase != "prefill":
        return 2.0 * mixer.num_heads * (2 * mixer.kv_lora_rank + mixer.qk_rope_head_dim)
    return 2.0 * mixer.num_heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim + mixer.v_head_dim)


def _states(model: ModelSpec, rates: Rates) -> Iterator[Operation]:
    """Constant states: read and written once a sequence and pass, updated by every token."""
    for layer, number in model.layer_counts.items():
        mixer = layer.mixer
        if isinstance(mixer, StateMixer):
            yield Operation(
                f"state {mixer.kind}",
                rates.plain_flop_per_s,
                flop_per_token=number * mixer.state_flop_per_token,
                bytes_per_sequence=2.0 * number * mixer.state_bytes,
            )


def _norms(model: ModelSpec, weight_dtype: str, tensor_parallel: int, rates: Rates) -> Iterator[Operation]:
    stored = norm_bytes(model, weight_dtype, tensor_parallel)
    if stored:
        yield Operation("norms", rates.plain_flop_per_s, bytes_per_pass=stored)


def _head(head: Matrix, weight_dtype: str, tensor_parallel: int, rates: Rates) -> Iterator[Operation]:
    """The output projection: one row a sequence, as engines compute logits only where they sample."""
    if head.parameters:
        stored = head.parameters * bytes_per_weight(head, weight_dtype) * copies(head, tensor_parallel)
        flop = 2.0 * head.parameters
        yield Operation(head.operation, rates.plain_flop_per_s, flop_per_sequence=flop, bytes_per_pass=stored)


def _all_reduce(model: ModelSpec, weight_dtype: str, tensor_parallel: int, domains: int) -> Iterator[Operation]:
    """Sums over a tensor-parallel group: in its scale-up domains, g accelerators each, and between these, n of them.

    B bytes are scattered and gathered in a domain, 2 (g - 1) / g B over the scale-up link; in between each accelerator
    sums its part with those of other domains that have the same, 2 (n - 1) / n B / g over its own NIC, in 2 (n - 1)
    steps: rings, one after the other (BlueConnect, Cho et al., MLSys 2019; NCCL's model of a ring has these steps).
    """
    if tensor_parallel == 1:
        return
    together = tensor_parallel // domains
    share, between = (RING_PASSES * (ranks - 1) / ranks for ranks in (together, domains))
    for name, (reductions, last_token_only) in reductions_of(model).items():
        sent = share * reductions * model.hidden_size * plain_bytes(weight_dtype)
        yield Operation(name, link_bytes_per_token=sent, per_sequence=last_token_only)
        if domains > 1:
            part = between * reductions * model.hidden_size * plain_bytes(weight_dtype) / together
            steps = RING_PASSES * (domains - 1) * reductions
            name = f"{name} between domains"
            yield Operation(name, link_bytes_per_token=part, per_sequence=last_token_only,
                            between_domains=True, steps=steps)  # fmt: skip


def reductions_of(model: ModelSpec) -> dict[str, tuple[int, bool]]:
    """How many all-reduces a pass has, by name, and whether they are of each sequence's last token alone."""
    found: dict[str, tuple[int, bool]] = {}
    for layer, number in model.layer_counts.items():
        if layer.matrices and layer.all_reduces:
            name = layer.named("all_reduce")
            found[name] = found.get(name, (0, False))[0] + layer.all_reduces * number, layer.last_token_only
    return found
