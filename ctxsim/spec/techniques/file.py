"""A technique as its file has it: parameters, effects, and what is known of training and quality."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ctxsim.errors import nearest
from ctxsim.spec.techniques.effects import Effect
from ctxsim.spec.validation import FieldError, Spec

Dimension = Literal[
    "weights", "depth", "hybrid", "layer", "head", "hidden", "token", "selection", "decoding", "kernel", "system"
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
"""In the order in which techniques are applied, whatever the order in which they are written."""

Effort = Literal["none", "calibration", "finetune", "uptrain", "pretrain"]
Needle = Literal["lossless", "kept", "mixed", "lost", "untested"]
Quantity = Literal["concurrency", "prefill", "decode", "switch"]
Scalar = int | float | str | bool | None
Text = Annotated[str, Field(min_length=1)]


class Training(Spec):
    """What a model takes before the technique can be used on it."""

    effort: Effort
    note: str = ""
    source: Text


class NeedleRetrieval(Spec):
    """Whether what stands somewhere in a long context is still found."""

    state: Needle
    note: str = ""
    source: Text


class TestedWith(Spec):
    """Other techniques beside which somebody has tested that retrieval survives."""

    techniques: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    source: Text


class Claim(Spec):
    """What its authors say that it gives."""

    text: Text
    source: Text


class TechniqueFile(Spec):
    """A file of ``techniques/``: ``$x`` in an effect stands for the parameter x.

    ``identity``: parameters at which it changes nothing; ``identity_note``: what they mean, or why there are none.
    ``stored``, ``read``, ``computed``, ``moved``: in sentences. ``improves``: of the four quantities, those that it
    makes better. ``frontier``: further parameters that searches try.
    """

    name: Text
    title: Text
    dimension: Dimension
    parameters: dict[str, Scalar]
    identity: dict[str, Scalar] | None = None
    identity_note: str = ""
    effects: Annotated[tuple[Effect, ...], Field(strict=False)]
    stored: Text
    read: Text
    computed: Text
    moved: Text
    improves: Annotated[tuple[Quantity, ...], Field(strict=False)]
    training: Training
    needle: NeedleRetrieval
    tested_with: Annotated[tuple[TestedWith, ...], Field(strict=False)] = ()
    frontier: Annotated[tuple[dict[str, Scalar], ...], Field(strict=False)] = ()
    claim: Claim
    sources: Annotated[tuple[Text, ...], Field(strict=False)]
    note: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> TechniqueFile:
        for name in ("effects", "sources"):
            if not getattr(self, name):
                raise FieldError(name, "expected at least one, found none")
        return self

    @model_validator(mode="after")
    def _identity_is_said(self) -> TechniqueFile:
        if self.identity is None and not self.identity_note:
            message = "expected parameters at which it changes nothing, or identity_note: why there are none, found"
            raise FieldError("identity", f"{message} neither")
        for key, settings in (("identity", (self.identity or {},)), ("frontier", self.frontier)):
            unknown = next((name for setting in settings for name in setting if name not in self.parameters), None)
            if unknown is not None:
                known = ", ".join(self.parameters) or "none"
                would_do = nearest(unknown, self.parameters) or f"; known: {known}"
                raise FieldError(key, f'expected parameters of the technique, found "{unknown}"{would_do}')
        return self
