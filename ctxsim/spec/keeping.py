"""How attention keeps and reads its KV where a technique changes what the layer's kind says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """Decode reads ``tokens`` of a cache that is kept whole, found by summaries that are read whole.

    ``values_per_page``: values of a summary, of each KV head and page of ``page_tokens``, in the format of the KV.
    """

    tokens: int
    page_tokens: int
    values_per_page: int


@dataclass(frozen=True, slots=True)
class HeadWindow:
    """``kv_heads`` of a layer keep and read the last ``tokens`` alone; ``whole_prompts``: in prompts they read all."""

    kv_heads: int
    tokens: int
    whole_prompts: bool = False


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a layer does with its KV; the defaults change nothing.

    ``stores``: False where the layer reads what another of its kind keeps. ``ratio``: the share of the tokens that
    stays once a prompt is computed, ``tokens``: how many at most (None: as its kind says); prompts themselves read as
    its kind says, unless ``windowed_prompts`` (they read the last ``tokens`` too). ``query_ratio``: the share of the
    new tokens that attends. ``region_tokens``: of Combiner's regions.
    """

    stores: bool = True
    ratio: float = 1.0
    tokens: int | None = None
    windowed_prompts: bool = False
    selection: Selection | None = None
    head_window: HeadWindow | None = None
    query_ratio: float = 1.0
    region_tokens: int | None = None


PLAIN = Keeping()
