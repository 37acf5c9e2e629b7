"""The command line: parse, call, print. The only package that imports typer."""

from ctxsim.cli.app import main

__all__ = ["main"]
