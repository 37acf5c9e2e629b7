"""Speculative decoding: who drafts, how much, and how often drafts hold; and leaving a model early."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from ctxsim.spec.validation import FieldError, Spec

Share = Annotated[float, Field(gt=0, le=1)]
Tokens = Annotated[int, Field(ge=1, le=10**9)]


def _named(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


class Draft(Spec):
    """Who drafts: another model by name or path (a bare name in a file means this), the model's own first ``layers``
    (LayerSkip, arXiv 2404.16710), or the model with that share of its feed-forward width (MatFormer, arXiv 2310.07707).
    """

    model: Annotated[str, Field(min_length=1)] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    ffn_ratio: Share | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Draft:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise FieldError("model", f"expected one of model, layers and ffn_ratio, found {found}; write one")
        return self


class Speculation(Spec):
    """``draft_tokens`` n are drafted and verified in one pass; each is accepted with probability ``acceptance`` a.

    A round yields the tokens up to the first that is rejected, and one of the verifying model itself: (1 - a^(n+1)) /
    (1 - a) on average (Leviathan et al., arXiv 2211.17192, equation 1). kv_budget_tokens: tokens of KV that drafting
    reads at most, from a cache of its own (TriForce, arXiv 2404.11912).
    """

    draft: Annotated[Draft, BeforeValidator(_named)]
    draft_tokens: Annotated[int, Field(ge=0, le=1000)]
    acceptance: Annotated[float, Field(ge=0, le=1)]
    kv_budget_tokens: Tokens | None = None

    @property
    def tokens_per_round(self) -> float:
        """Tokens that a round yields on average: the sum of a^i over i = 0 .. n."""
        return sum(self.acceptance**i for i in range(self.draft_tokens + 1))


class EarlyExit(Spec):
    """Decoding tokens leave the model after ``depth_ratio`` of its layers on average (CALM, arXiv 2207.07061)."""

    depth_ratio: Share
