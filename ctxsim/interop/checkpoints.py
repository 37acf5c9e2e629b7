"""Which shipped model a checkpoint's name stands for."""

from __future__ import annotations

import re
from pathlib import Path

from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.spec.catalog import names

_MAKERS = re.compile(r"^(meta-|c4ai-|nvidia-)")


def shipped_model(checkpoint: str) -> str:
    """The shipped model that the name begins with, or the path of a folder or file that is there.

    "meta-llama/Llama-3.1-70B-Instruct" is llama-3.1-70b: without the owner and a maker's prefix, the longest shipped
    name that ends where a dash or nothing follows. Raises SpecError where there is none.
    """
    if checkpoint in names("model") or Path(checkpoint).exists():
        return checkpoint
    plain = _MAKERS.sub("", checkpoint.rstrip("/").rpartition("/")[2].lower())
    fitting = [name for name in names("model") if plain == name or plain.startswith(f"{name}-")]
    if fitting:
        return max(fitting, key=len)
    would_do = nearest(plain, names("model")) or "; see ctxsim model list"
    message = f'expected a checkpoint of a shipped model, found "{shorten(checkpoint)}"{would_do}'
    raise SpecError(Fault("command line", None, None, "model", f"{message}, or give --model NAME_OR_PATH"))
