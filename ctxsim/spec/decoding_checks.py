"""What must hold for the ways of decoding that a scenario chooses, between them and with model and machine."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.errors import Fault
from ctxsim.spec.document import Document
from ctxsim.spec.domains import joined
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.model import LatentAttention, ModelSpec, StateMixer
from ctxsim.spec.serving import Deployment, Serving


def decoding_faults(serving: Serving, fidelity: str, model: ModelSpec, document: Document) -> Iterator[Fault]:
    """Ways of decoding that this model or this fidelity has no arithmetic for."""

    def refuse(field: str, why: str, would_do: str) -> Fault:
        return document.fault(("serving", field), f"expected null {why}, found {_shown(serving, field)}; {would_do}")

    if fidelity == "calibrated":
        measured = {
            "decode_attention": "its times are those of the kernel that was measured",
            "speculation": "no pass that verifies several tokens of a sequence was measured",
            "early_exit": "no pass that sequences leave early was measured",
        }
        for field, why in measured.items():
            if getattr(serving, field) is not None:
                yield refuse(field, f"at fidelity calibrated ({why})", "leave it out, or write fidelity: peak")
    if serving.drafting is not None and serving.depth_ratio is not None:
        why = "beside speculation (what verifies drafts computes all layers)"
        yield refuse("early_exit", why, "leave one of them out")
    halves = any(layer.last_token_only for layer in model.layer_counts)
    if serving.depth_ratio is not None and (
        halves or any(m.table_bits for la in model.layer_counts for m in la.matrices)
    ):
        why = "beside a decoder-decoder or tables in place of weights (what a token that leaves is spared is not known)"
        yield refuse("early_exit", why, "leave one of them out")
    if serving.depth_ratio is not None and serving.depth_ratio * model.num_layers < 1:
        least = f"at least one of the {model.num_layers} layers of {model.name}"
        message = f"expected {least}, found {serving.depth_ratio:g} of them; raise it"
        yield document.fault(("serving", "early_exit", "depth_ratio"), message)
    latent = any(isinstance(layer.mixer, LatentAttention) for layer in model.layer_counts)
    if serving.decode_attention is not None and latent:
        why = f"beside latent attention ({model.name}: one row for all heads, which these kernels do not read)"
        yield refuse("decode_attention", why, "leave it out")


def has_states(model: ModelSpec) -> bool:
    """Whether states pass from token to token, so that no groups can divide a context."""
    return any(isinstance(layer.mixer, StateMixer) for layer in model.layer_counts)


def context_faults(
    deployment: Deployment, fidelity: str, model: ModelSpec, hardware: Hardware, document: Document
) -> Iterator[Fault]:
    """Groups that divide a sequence where that is not possible, or was not measured."""
    groups, place = deployment.context_parallel, ("deployment", "context_parallel")
    if groups == 1:
        return
    if fidelity == "calibrated":
        message = f"expected 1 at fidelity calibrated (no divided attention was measured), found {groups}"
        yield document.fault(place, f"{message}; set 1, or write fidelity: peak")
    if has_states(model):
        message = f"expected 1 for {model.name} (its states pass from token to token), found {groups}"
        yield document.fault(place, f"{message}; set 1")
    yield from _apart_faults(deployment, hardware, document)


def _apart_faults(deployment: Deployment, hardware: Hardware, document: Document) -> Iterator[Fault]:
    """Groups within a domain each that do not all lie in one, and cannot lie in several."""
    groups, ranks, most = deployment.context_parallel, deployment.tensor_parallel, hardware.max_accelerators
    if joined(ranks, groups, hardware) or not joined(ranks, 1, hardware):
        return
    joins = f"what the scale-up link of {hardware.name} joins"
    if hardware.scale_out_bytes_per_s is None:
        wanted = f"at most {most} accelerators ({joins}; its profile has no scale_out to go further)"
        would_do = "lower one of them"
    else:
        wanted = f"groups that fill whole domains of {most} accelerators ({joins})"
        would_do = f"take tensor_parallel that divides {most}, and as many groups as fill domains"
    found = f"found {groups} x tensor_parallel {ranks}"
    yield document.fault(("deployment", "context_parallel"), f"expected {wanted}, {found}; {would_do}")


def drafting_faults(draft: ModelSpec, deployment: Deployment, document: Document) -> Iterator[Fault]:
    """A draft that tensor parallelism cannot cut as it does the model."""
    ranks = deployment.tensor_parallel
    if not draft.splits_over(ranks):
        message = f"expected a model whose heads can be split over {ranks} accelerators, found {draft.name}"
        yield document.fault(("serving", "speculation", "draft"), f"{message}; take another, or fewer")


def reading_faults(serving: Serving, hardware: Hardware, document: Document) -> Iterator[Fault]:
    """A choice of decode kernel on a machine of which nobody has said how fast one unit reads."""
    if serving.decode_attention is not None and hardware.decode_worker_bytes_per_s is None:
        wanted = f"expected null, as the profile of {hardware.name} has no efficiency.decode_attention"
        would_do = "leave it out, give the profile measured rates, or take a100-80gb-sxm"
        message = f"{wanted}, found {_shown(serving, 'decode_attention')}; {would_do}"
        yield document.fault(("serving", "decode_attention"), message)


def _shown(serving: Serving, field: str) -> str:
    value = getattr(serving, field)
    return f'"{value}"' if isinstance(value, str) else "a setting"
