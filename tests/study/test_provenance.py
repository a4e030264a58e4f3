"""Provenance changes with the contents of space and code, and not with their place or time."""

import json
import os

import pytest

from search.common.errors import InputError
from search.common.installation import PACKAGES, ROOT, code_files
from search.study.provenance import LIBRARIES, provenance, provenance_changes


@pytest.fixture
def program(tmp_path):
    """A small program, with a space outside of it."""
    root = tmp_path / "program"
    for package in PACKAGES:
        (root / package / "inner").mkdir(parents=True)
        for name in ("a.py", "b.py", "inner/c.py"):
            (root / package / name).write_text(f"{package} {name}")
    (tmp_path / "own.py").write_text("SPACE = 1")
    return root


def of(program):
    return provenance(str(program.parent / "own.py"), program)


def test_provenance_is_the_same_for_the_same_files():
    now = provenance("residual_placement")
    assert now == json.loads(json.dumps(now))
    assert now == provenance(str(ROOT / "spaces" / "residual_placement.py"))
    assert now.keys() == {"space", "code", *LIBRARIES}
    assert provenance_changes(now, now) == []


def test_every_space_has_a_digest_of_its_own():
    spaces = [path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__"]
    assert len({provenance(name)["space"] for name in spaces}) == len(spaces) > 1
    with pytest.raises(InputError, match="nowhere"):
        provenance("nowhere")


def test_every_module_of_this_program_counts(tmp_path):
    found = {str(path.relative_to(ROOT)) for path in code_files()}
    assert {
        "search/run.py",
        "search/training/fit.py",
        "search/study/provenance.py",
        "wbcmodels/family.py",
    } <= found
    assert len(found) == len(code_files())
    with pytest.raises(FileNotFoundError, match="search"):
        provenance("residual_placement", tmp_path)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", ["a.py", "inner/c.py"])
@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_any_change_of_the_code_is_found(program, package, name, change):
    before, file = of(program), program / package / name
    if change == "edit":
        file.write_text(file.read_text() + "\n")
    elif change == "add":
        file.with_name("new.py").write_text("x")
    else:
        file.unlink()
    (found,) = provenance_changes(before, of(program))
    assert "code" in found


def test_a_change_of_the_space_is_found(program):
    before = of(program)
    (program.parent / "own.py").write_text("SPACE = 2")
    (found,) = provenance_changes(before, of(program))
    assert "space" in found


def test_content_that_moves_between_files_is_a_change(program):
    before = of(program)
    a, b = (program / "search" / name for name in ("a.py", "b.py"))
    first, second = a.read_text(), b.read_text()
    for contents in ((first + second, ""), (second, first)):
        a.write_text(contents[0])
        b.write_text(contents[1])
        assert of(program) != before


def test_place_and_time_and_other_files_do_not_count(program):
    before = of(program)
    for path in program.rglob("*.py"):
        os.utime(path, (1, 1))
    (program / "search" / "__pycache__").mkdir()
    (program / "search" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    (program / "tests").mkdir()
    (program / "tests" / "test_a.py").write_text("x")
    assert of(program) == before
    assert of(program.rename(program.with_name("elsewhere"))) == before


def test_a_changed_library_is_named_with_both_versions():
    (found,) = provenance_changes({"torch": "2.11", "numpy": "2.0"}, {"torch": "2.12", "numpy": "2.0"})
    assert all(word in found for word in ("torch", "2.11", "2.12"))
    # A study without a record of its provenance differs in everything.
    assert len(provenance_changes({}, {"space": "x", "code": "y", "torch": "2.12"})) == 3
