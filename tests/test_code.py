"""The code itself: style, types, and imports that go down the levels."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = (
    (sys.executable, "-m", "ruff", "check"),
    (sys.executable, "-m", "ruff", "format", "--check"),
    (sys.executable, "-m", "mypy"),
    (shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports", "--no-cache"),
)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: " ".join(tool[-2:]))
def test_tools_find_nothing(tool):
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
