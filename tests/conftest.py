"""Shared by all tests: how hypothesis runs, and where the measured data from outside lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Simulations vary in length: a deadline would make slow machines fail. In CI every run draws the same examples.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """The folder of measured data; the test is skipped where it is absent."""
    place = os.environ.get("CTXSIM_DATA", Path(__file__).parents[2] / "shared" / "data")
    if not Path(place).is_dir():
        pytest.skip("needs the measured data: no folder at $CTXSIM_DATA or ../shared/data")
    return Path(place)
