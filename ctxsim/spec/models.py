"""Models by name or path: a Hugging Face config.json, a folder that holds one, or an explicit YAML file."""

from __future__ import annotations

from pathlib import Path

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.catalog import find, names
from ctxsim.spec.document import read_document
from ctxsim.spec.explicit import read_explicit
from ctxsim.spec.huggingface import read_config
from ctxsim.spec.model import ModelSpec

CONFIG_FILE = "config.json"


def load_model(name_or_path: str | Path) -> ModelSpec:
    """The model of that shipped name, or of the file or folder at that path; raises SpecError.

    A config.json is named after its folder, any other file after itself (an explicit file says its own name).
    """
    path = _file(str(name_or_path))
    if path.suffix == ".json":
        return read_config(read_document(path), _name(path))
    if path.suffix in (".yaml", ".yml"):
        return read_explicit(read_document(path))
    message = f'expected a .json file of Hugging Face or a .yaml file of our own, found "{path.name}"'
    raise SpecError(Fault(str(path), None, None, "model", message))


def _file(name_or_path: str) -> Path:
    if name_or_path not in names("model") and Path(name_or_path).is_dir():
        return Path(name_or_path) / CONFIG_FILE
    return find("model", name_or_path)


def _name(path: Path) -> str:
    return path.resolve().parent.name if path.name == CONFIG_FILE else path.stem
