"""A headless Chromium that opens reports and says what it sees; tests are skipped with a reason where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
HARNESS = Path(__file__).with_name("harness.html")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--enable-logging=stderr",
    "--virtual-time-budget=20000", "--dump-dom",
)  # fmt: skip
DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"


class Seen(NamedTuple):
    """What the page looks like, and what the browser's console said."""

    found: dict[str, Any]
    console: list[str]


Look = Callable[..., Seen]


@pytest.fixture(scope="session")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Opens a page in a window of that width."""
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is on PATH")
    folder = tmp_path_factory.mktemp("browser")

    def opened(page: Path, width: int = 1280, dark: bool = False) -> Seen:
        harness = folder / "harness.html"
        text = HARNESS.read_text().replace("PAGE", page.resolve().as_uri()).replace("WIDTH", str(width))
        harness.write_text(text)
        profile = f"--user-data-dir={folder / 'profile'}"
        words = [browser, *FLAGS, DARK if dark else LIGHT, profile, "--window-size=1400,1000", harness.as_uri()]
        run = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        answer = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
        assert answer, run.stderr[-2000:]
        assert answer[1], f"the page was not looked at: {run.stderr[-2000:]}"
        console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
        return Seen(json.loads(html.unescape(answer[1])), console)

    return opened
