"""Techniques that make long contexts cheaper: pure changes of a model and of how it is served."""

from ctxsim.spec.techniques.applying import Applied, Changed, StackError, apply_all
from ctxsim.spec.techniques.file import DIMENSIONS, TechniqueFile
from ctxsim.spec.techniques.loading import Technique, load_technique, parse_written
from ctxsim.spec.techniques.subject import RefusalError, Subject

__all__ = [
    "DIMENSIONS",
    "Applied",
    "Changed",
    "RefusalError",
    "StackError",
    "Subject",
    "Technique",
    "TechniqueFile",
    "apply_all",
    "load_technique",
    "parse_written",
]
