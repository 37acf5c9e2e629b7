"""Rules of the code base that no linter checks."""

import ast
import statistics
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ctxsim"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_MEDIAN_LINES = 350, 60, 10
PREFIXES = {1e3, 1e6, 1e9, 1e12, 1e15, 1e-3, 1e-6, 1e-9, 1024}
POWERS = {10, 20, 30, 40, 50}


def _functions(path: Path) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]


def _lines(function: ast.FunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_holds_one_idea(path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    too_long = [f"{f.name} ({_lines(f)} lines)" for f in _functions(path) if _lines(f) > MAX_FUNCTION_LINES]
    assert not too_long


def test_functions_have_flat_tails():
    lengths = [_lines(f) for path in FILES for f in _functions(path)]
    assert len(lengths) > 300
    assert statistics.median(lengths) < MAX_MEDIAN_LINES


def _is_prefix(node: ast.AST) -> bool:
    """A float literal that is a decimal prefix, 1024, or a power of two that is a binary prefix."""
    match node:
        case ast.Constant(value=float(value)):
            return value in PREFIXES
        case ast.Constant(value=int(value)):
            return value == 1024
        case ast.BinOp(left=ast.Constant(value=2), op=ast.Pow(), right=ast.Constant(value=power)):
            return power in POWERS
    return False


def _is_start(node: ast.AST) -> bool:
    """Where a coefficient's fit begins and between which bounds it looks: powers of ten that are no prefixes."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Start"


def _prefixes(tree: ast.AST) -> list[str]:
    starts = {id(part) for node in ast.walk(tree) if _is_start(node) for part in ast.walk(node)}
    return [f"line {node.lineno}" for node in ast.walk(tree) if _is_prefix(node) and id(node) not in starts]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_units_knows_prefixes(path):
    prefixes = _prefixes(ast.parse(path.read_text()))
    if path.name == "units.py":
        assert prefixes
    elif path.name == "jump.py":
        assert len(prefixes) == 1  # TIE_S, a time by definition
    else:
        assert not prefixes
