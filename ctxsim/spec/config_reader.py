"""Reads fields of a Hugging Face config.json: aliases, family defaults, and every fault with its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ctxsim.errors import SpecError, nearest
from ctxsim.spec.document import Document, Loc
from ctxsim.spec.validation import shown

ALIASES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embed", "n_embd"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head",),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num", "num_attention_groups"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": (
        "num_experts_per_token",
        "experts_per_token",
        "moe_topk",
        "moe_top_k",
        "top_k_experts",
    ),
    "num_shared_experts": ("n_shared_experts", "moe_num_shared_experts"),
    "intermediate_size": ("ffn_hidden_size",),
    "layer_types": ("layers_block_type",),
    "sliding_window_pattern": ("_sliding_window_pattern",),
}
"""Other spellings of a field, tried in this order after the field's own."""

MECHANISM_FIELDS = (
    "kv_lora_rank",
    "index_topk",
    "indexer_types",
    "compress_ratios",
    "sparse_attention_config",
    "sliding_window",
    "attention_chunk_size",
    "use_bidirectional_attention",
    "layer_types",
    "attn_type_list",
    "hybrid_layer_pattern",
    "hybrid_override_pattern",
    "linear_num_value_heads",
    "linear_attn_config",
    "mamba_d_state",
    "block_configs",
    "per_layer_config",
    "num_kv_shared_layers",
    "num_experts",
    "num_shared_experts",
    "shared_intermediate_size",
    "cross_attention_layers",
)
"""Fields that change how layers keep context or weights. One that is set and that the family's adapter never
asked for means a mechanism the adapter does not know: a fault, not a guess."""

MAX_LAYERS = 10_000
EXPLICIT = "describe the model in an explicit YAML spec (see models/paper-34b.yaml)"

_LEGACY_LAYER_TYPES: Mapping[str, str] = {
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}
"""Older words for a layer type; the same renaming that transformers 5 applies."""


@dataclass
class ConfigReader:
    """Fields of one config.json, read from ``text_config`` first and from the top level after it.

    ``defaults``: what the family's configuration class assumes where a key is absent; the keys that used it are
    listed in ``defaulted``. A wrong or missing field is noted and read as 1, so that one pass over the file finds
    every fault; `finish` raises them.
    """

    document: Document
    name: str
    model_type: str
    defaults: Mapping[str, object]
    defaulted: list[str] = field(default_factory=list)
    _faults: dict[str, SpecError] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def integer(self, name: str, minimum: int = 1) -> int:
        """The whole number of that field; absent without a default, null or not a number is a fault."""
        value = self._value(name)
        if value is None:
            self.fault(name, "expected a whole number, found nothing; this field is required")
            return minimum
        return self._integer(name, value, minimum)

    def optional_integer(self, name: str, minimum: int = 1) -> int | None:
        """The whole number of that field, or None where it or its default is null; absent otherwise is a fault."""
        value = self._value(name)
        if value is None and name not in self.defaults and self._found(name)[0] is None:
            self.fault(name, "expected a whole number or null, found nothing; this field is required")
        return None if value is None else self._integer(name, value, minimum)

    def flag(self, name: str) -> bool:
        """True or false; null counts as false."""
        value = self._value(name)
        if isinstance(value, bool) or value is None:
            return bool(value)
        self.fault(name, f"expected true or false, found {shown(value)}")
        return False

    def word(self, name: str) -> str:
        """The text of that field."""
        value = self._value(name)
        if isinstance(value, str):
            return value
        self.fault(name, f"expected text, found {shown(value)}")
        return ""

    def integers(self, name: str) -> list[int] | None:
        """The list of whole numbers of that field, or None where it is null or absent."""
        items = self._list(name, "whole numbers")
        return None if items is None else [item for item in items if isinstance(item, int)]

    def words(self, name: str) -> list[str] | None:
        """The list of words of that field, or None where it is null or absent."""
        items = self._list(name, "words")
        return None if items is None else [item for item in items if isinstance(item, str)]

    def raw(self, name: str) -> object:
        """The value of that field as the file has it, for the few fields that take several forms."""
        return self._value(name)

    def num_layers(self) -> int:
        """Decoder layers; more than any model has is a fault."""
        count = self.integer("num_hidden_layers")
        if count <= MAX_LAYERS:
            return count
        self.fault("num_hidden_layers", f"expected at most {MAX_LAYERS} layers, found {count}")
        return 1

    def layer_kinds(self, supported: Collection[str], default: Callable[[int], str]) -> list[str]:
        """The type of each layer: the words of ``layer_types``, or ``default(i)`` where the file has none.

        Older words are renamed; a word the family does not have, or a list of another length, is a fault.
        """
        count = self.num_layers()
        found = self.words("layer_types")
        if found is None:
            return [default(i) for i in range(count)]
        kinds = [_LEGACY_LAYER_TYPES.get(word, word) for word in found]
        for word, kind in zip(found, kinds, strict=True):
            if kind not in supported:
                self.unknown_word("layer_types", word, supported)
                return [default(i) for i in range(count)]
        return self.per_layer("layer_types", kinds)

    def per_layer(self, name: str, items: list[str]) -> list[str]:
        """The items, which must be one a layer."""
        count = self.num_layers()
        self.require(len(items) == count, name, f"expected {count} entries, one a layer, found {len(items)}")
        return items

    def unknown_word(self, name: str, word: str, known: Collection[str]) -> None:
        """Notes a word that the family gives no meaning: the fault lists the known ones."""
        listing = ", ".join(sorted(known))
        self.fault(name, f'expected one of {listing}, found "{word}"{nearest(word, known)}; or {EXPLICIT}')

    def require(self, holds: bool, name: str, message: str) -> None:
        """Notes a fault where two fields contradict each other; silent while a field itself is at fault."""
        if not holds and not self._faults:
            self.fault(name, message)

    def fault(self, name: str, message: str) -> None:
        """Notes one fault of that field; the first one stands."""
        error = SpecError(self.document.fault(self._loc(name), message))
        self._faults.setdefault(name, error)

    def finish(self) -> None:
        """Raises SpecError with every fault noted; also for a mechanism field that nothing asked for."""
        for name in MECHANISM_FIELDS:
            _, value = self._found(name)
            if value and name not in self._asked:
                message = f"expected no such field in a {self.model_type} model, found {shown(value)}"
                self.fault(name, f"{message}; {EXPLICIT}")
        if self._faults:
            raise SpecError(*(fault for error in self._faults.values() for fault in error.faults))

    def _value(self, name: str) -> object:
        self._asked.add(name)
        key, value = self._found(name)
        if key is not None:
            return value
        if name in self.defaults:
            if name not in self.defaulted:
                self.defaulted.append(name)
            return self.defaults[name]
        return None

    def _found(self, name: str) -> tuple[str | None, object]:
        """The key under which the file has the field, and its value; two spellings must agree."""
        for section in self._sections():
            present = [key for key in (name, *ALIASES.get(name, ())) if key in section]
            if present:
                values = [section[key] for key in present if section[key] is not None]
                if any(value != values[0] for value in values):
                    self.fault(name, f"expected one value, found {' and '.join(present)} with different ones")
                return present[0], values[0] if values else None
        return None, None

    def _sections(self) -> Sequence[dict[str, object]]:
        text = self.document.data.get("text_config")
        return (text, self.document.data) if isinstance(text, dict) else (self.document.data,)

    def _loc(self, name: str) -> Loc:
        text = self.document.data.get("text_config")
        for key in (name, *ALIASES.get(name, ())):
            if isinstance(text, dict) and key in text:
                return ("text_config", key)
            if key in self.document.data:
                return (key,)
        return ("text_config", name) if isinstance(text, dict) else (name,)

    def _integer(self, name: str, value: object, minimum: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault(name, f"expected a whole number, found {shown(value)}")
        elif value < minimum:
            self.fault(name, f"expected a whole number of at least {minimum}, found {value}")
        else:
            return value
        return minimum

    def _list(self, name: str, content: Literal["words", "whole numbers"]) -> list[object] | None:
        value = self._value(name)
        if value is None:
            return None
        kind = str if content == "words" else int
        if isinstance(value, list) and all(type(item) is kind for item in value):
            return value
        self.fault(name, f"expected a list of {content}, found {shown(value)}")
        return None
