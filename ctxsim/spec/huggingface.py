"""From a Hugging Face config.json to a ModelSpec, read as it stands, without transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ctxsim.errors import SpecError, nearest
from ctxsim.spec.config_reader import EXPLICIT, ConfigReader
from ctxsim.spec.document import Document
from ctxsim.spec.families.deepseek import deepseek_v2, deepseek_v3, sparse_attention
from ctxsim.spec.families.defaults import DEFAULTS
from ctxsim.spec.families.gemma import gemma2, gemma3
from ctxsim.spec.families.gpt_oss import gpt_oss
from ctxsim.spec.families.hybrid import granite_hybrid, jamba, minimax
from ctxsim.spec.families.llama import llama, mistral, mixtral
from ctxsim.spec.families.llama4 import llama4
from ctxsim.spec.families.parallel import cohere, falcon
from ctxsim.spec.families.qwen import qwen2, qwen3, qwen3_moe
from ctxsim.spec.families.qwen_hybrid import qwen3_5_moe, qwen3_next
from ctxsim.spec.model import ModelSpec
from ctxsim.spec.validation import shown

ADAPTERS: Mapping[str, Callable[[ConfigReader], ModelSpec]] = {
    "cohere": cohere,
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "deepseek_v32": sparse_attention,
    "falcon": falcon,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "glm_moe_dsa": sparse_attention,
    "gpt_oss": gpt_oss,
    "granitemoehybrid": granite_hybrid,
    "jamba": jamba,
    "kimi_k2": deepseek_v3,
    "llama": llama,
    "llama4": llama4,
    "minimax": minimax,
    "mistral": mistral,
    "mixtral": mixtral,
    "phi3": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3_5_moe": qwen3_5_moe,
    "qwen3_moe": qwen3_moe,
    "qwen3_next": qwen3_next,
}
"""How each ``model_type`` is read. Phi-3 has the layers of Mistral, with other defaults."""

SAME_AS: Mapping[str, str] = {
    "gemma3_text": "gemma3",
    "llama4_text": "llama4",
    "minimax_m1": "minimax",
    "minimax_text_01": "minimax",
    "qwen3_5_moe_text": "qwen3_5_moe",
}
"""Other spellings of a ``model_type``."""


def read_config(document: Document, name: str) -> ModelSpec:
    """The model of a config.json, its text part where it has several.

    Raises SpecError with every fault found: an unknown model type, a required field that is missing, an unknown
    layer type, fields that contradict each other, or a mechanism that the family is not known to have.
    """
    model_type = _model_type(document)
    reader = ConfigReader(document, name, model_type, DEFAULTS[model_type])
    model = ADAPTERS[model_type](reader)
    reader.finish()
    return model


def _model_type(document: Document) -> str:
    """The known model type of the text part, or of the whole where that names none."""
    text = document.data.get("text_config")
    inside = isinstance(text, dict) and "model_type" in text
    found = text["model_type"] if isinstance(text, dict) and inside else document.data.get("model_type")
    known = SAME_AS.get(found, found) if isinstance(found, str) else None
    if known is not None and known in ADAPTERS:
        return known
    loc = ("text_config", "model_type") if inside else ("model_type",)
    names = sorted({*ADAPTERS, *SAME_AS})
    suggestion = nearest(found, names) if isinstance(found, str) else ""
    message = f"expected one of {', '.join(names)}, found {shown(found)}{suggestion}; or {EXPLICIT}"
    raise SpecError(document.fault(loc, message))
