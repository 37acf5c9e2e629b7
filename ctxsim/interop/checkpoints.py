"""What a checkpoint's name says: which shipped model it stands for, and in which format its weights are."""

from __future__ import annotations

import re
from pathlib import Path

from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.spec.catalog import names
from ctxsim.spec.document import read_document
from ctxsim.spec.validation import Spec, validate

FORMATS = Path(__file__).parent / "checkpoints.yaml"

_MAKERS = re.compile(r"^(meta-|c4ai-|nvidia-)")


class Formats(Spec):
    """Formats of weights, by words of checkpoints' names and by shipped models."""

    named: dict[str, str]
    published: dict[str, str]


def shipped_model(checkpoint: str) -> str:
    """The shipped model that the name begins with, or the path of a folder or file that is there.

    "meta-llama/Llama-3.1-70B-Instruct" is llama-3.1-70b: without the owner and a maker's prefix, the longest shipped
    name that ends where a dash or nothing follows. Raises SpecError where there is none.
    """
    if checkpoint in names("model") or Path(checkpoint).exists():
        return checkpoint
    plain = _MAKERS.sub("", _last(checkpoint))
    fitting = [name for name in names("model") if plain == name or plain.startswith(f"{name}-")]
    if fitting:
        return max(fitting, key=len)
    would_do = nearest(plain, names("model")) or "; see ctxsim model list"
    message = f'expected a checkpoint of a shipped model, found "{shorten(checkpoint)}"{would_do}'
    raise SpecError(Fault("command line", None, None, "model", f"{message}, or give --model NAME_OR_PATH"))


def weight_format(checkpoint: str, model: str) -> tuple[str, str] | None:
    """The format of the checkpoint's weights, and how it is known; None where nothing says one.

    A method of quantization (gptq) says less than a number of bits (int8), wherever they stand.
    """
    formats = validate(Formats, read_document(FORMATS))
    words = re.split(r"[-_.]", _last(checkpoint))
    for word, its_format in formats.named.items():
        if word in words:
            return its_format, f'"{word}" in the name of the checkpoint'
    if model in formats.published:
        return formats.published[model], f"the format that {model} is published in"
    return None


def _last(checkpoint: str) -> str:
    return checkpoint.rstrip("/").rpartition("/")[2].lower()
