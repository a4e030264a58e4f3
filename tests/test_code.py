"""The code itself: style, types, and imports that go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for name in ("search", "wbcmodels", "spaces") for path in (ROOT / name).rglob("*.py"))

# What a module or package may not import, directly.
FORBIDDEN = {
    "wbcmodels": ("search", "ray", "optuna", "spaces"),
    "spaces": ("ray", "torch", "optuna"),
    "search/data": ("ray", "optuna", "search.trial", "search.tuning", "search.phases", "search.study"),
    "search/training.py": ("ray", "optuna", "search.trial", "search.tables", "search.tuning", "rich"),
    "search/tasks.py": ("ray", "torch", "optuna", "search.trial", "search.training", "search.tuning"),
    "search/trial.py": ("ray", "optuna", "search.tables", "search.tuning", "search.phases", "rich"),
    "search/report": ("ray", "torch", "search.trial", "search.training", "search.tuning", "search.phases"),
    "search/tuning": ("search.phases", "search.study", "search.session", "search.run"),
    "search/phases": ("ray", "search.study", "search.session", "search.run"),
    "search/study.py": ("ray", "search.session", "search.run"),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def is_below(name, package):
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_go_one_way(place):
    paths = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
    assert paths
    for path in paths:
        wrong = [name for name in imports(path) for other in FORBIDDEN[place] if is_below(name, other)]
        assert wrong == [], path


def test_only_tuning_imports_ray():
    tuning = ROOT / "search" / "tuning"
    users = {path for path in MODULES if any(is_below(name, "ray") for name in imports(path))}
    assert users
    assert all(tuning in path.parents for path in users)


@pytest.mark.parametrize("tool", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=" ".join)
def test_tools_find_nothing(tool):
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
