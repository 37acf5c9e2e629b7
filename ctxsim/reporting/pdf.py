"""A report as PDF."""

from __future__ import annotations

import re

from ctxsim.errors import MissingExtraError


def check_pdf() -> None:
    """Raises MissingExtraError where the extra is missing."""
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError):
        raise MissingExtraError("pdf", "a report as PDF") from None


def pdf(page: str) -> bytes:
    """The page on paper; raises MissingExtraError where the extra is missing."""
    check_pdf()
    from weasyprint import HTML

    # Drawings are set in the colours on paper: weasyprint reads no variables inside SVG.
    plain = re.sub(r"var\(--fig-[a-z]+, (#[0-9a-f]{6})\)", r"\1", page)
    found: bytes = HTML(string=plain).write_pdf()
    return found
