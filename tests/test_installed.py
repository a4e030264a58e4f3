"""The program as pip installs it: in an environment of its own, used from another folder."""

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from search.common.installation import ROOT, SPACES, code_files
from search.space.load import load_space

# It needs a minute, and Ray for the plan of a study.
pytestmark = [pytest.mark.slow, pytest.mark.ray]

NEEDED = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
STUDY = ROOT / "results" / "residual_placement-pbc2172-lisc255"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source distribution, the wheel built from the latter."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    for name in NEEDED:
        shutil.copy(ROOT / name, tree)
    for name in ("search", "wbcmodels", "spaces"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree)
    return folder


@pytest.fixture(scope="module")
def names(built):
    """Files in the wheel."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Runs a module of the wheel, installed next to the libraries of this environment, away from the checkout."""
    environment, elsewhere = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere")
    venv.create(environment)
    python = environment / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    # Without PYTHONPATH, where the checkout counts as an installation.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, wheel, env=variables)
    packages = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    # Added to the path as it is: its own .pth files, one of which finds an editable checkout, are not read.
    (Path(packages) / "libraries.pth").write_text("\n".join(site.getsitepackages()))

    def module(*arguments):
        return run(python, "-m", *arguments, cwd=elsewhere, env=variables)

    return module


def test_the_wheel_has_every_module_and_file_of_the_packages_and_no_top_level_spaces(names):
    assert {name.split("/")[0] for name in names} == {"search", "wbcmodels"}
    modules = {path.relative_to(ROOT).as_posix() for path in code_files()}
    spaces = {f"search/spaces/{path.name}" for path in SPACES.glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules | spaces
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("search", "wbcmodels")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == files | spaces


def test_the_source_distribution_has_the_same_modules(built, names):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        found = {member.name.partition("/")[2] for member in source.getmembers() if member.isfile()}
    assert {name.replace("search/spaces/", "spaces/") for name in names} <= found
    assert {*NEEDED} <= found
    assert not any(name.startswith(("tests/", "results/", "benchmarks/")) for name in found)


@pytest.mark.parametrize(("name", "options"), [("residual_placement", ()), ("ablation", ("--space", "ablation"))])
def test_a_space_is_found_by_its_name(installed, name, options):
    assert load_space(name)[1].question in installed("search.run", *options, "--dry-run")


def test_a_study_is_shown(installed):
    assert "Use placement none" in installed("search.show", STUDY)
