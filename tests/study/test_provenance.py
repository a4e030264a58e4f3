"""Tests of search.study.origin: what results follow from, told apart by contents and not by place or time."""

import json
import os
from importlib.metadata import version

import pytest
from search.study.origin import LIBRARIES, differences, origin

from search.common.errors import InputError
from search.common.installation import PACKAGES, ROOT, code_files


@pytest.fixture
def program(tmp_path):
    """A small program in place of this one, with a space outside of it."""
    root = tmp_path / "program"
    for package in PACKAGES:
        (root / package / "inner").mkdir(parents=True)
        for name in ("a.py", "b.py", "inner/c.py"):
            (root / package / name).write_text(f"{package} {name}")
    (tmp_path / "own.py").write_text("SPACE = 1")
    return root


def of(program):
    return origin(str(program.parent / "own.py"), program)


def test_the_same_files_have_the_same_origin():
    now = origin("residual_placement")
    assert now == origin("residual_placement") == json.loads(json.dumps(now))
    assert now == origin(str(ROOT / "spaces" / "residual_placement.py"))
    assert differences(now, now) == []
    assert {name: now[name] for name in LIBRARIES} == {name: version(name) for name in LIBRARIES}


def test_another_space_is_another_origin():
    spaces = sorted(path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__")
    origins = [origin(name) for name in spaces]
    assert len({found["space"] for found in origins}) == len(spaces) > 1
    for found in origins[1:]:
        assert differences(origins[0], found) == ["the space's file is another"]


def test_a_space_that_is_not_there_is_named():
    with pytest.raises(InputError, match="nowhere"):
        origin("nowhere")


def test_every_module_of_this_program_counts():
    found = {str(path.relative_to(ROOT)) for path in code_files()}
    assert {"search/run.py", "search/training/fit.py", "search/study/origin.py", "wbcmodels/family.py"} <= found
    assert len(found) == len(code_files())


def test_a_program_without_code_has_no_origin(tmp_path):
    with pytest.raises(FileNotFoundError, match="search"):
        origin("residual_placement", tmp_path)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", ["a.py", "inner/c.py"])
@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_any_change_of_the_code_is_told(program, package, name, change):
    before, file = of(program), program / package / name
    if change == "edit":
        file.write_text(file.read_text() + "\n")
    elif change == "add":
        file.with_name("new.py").write_text("x")
    else:
        file.unlink()
    assert differences(before, of(program)) == ["the program's code is another"]


def test_a_change_of_the_space_is_told(program):
    before = of(program)
    (program.parent / "own.py").write_text("SPACE = 2")
    assert differences(before, of(program)) == ["the space's file is another"]


def test_place_and_time_and_other_files_do_not_count(program):
    before = of(program)
    for path in program.rglob("*.py"):
        os.utime(path, (1, 1))
    (program / "search" / "__pycache__").mkdir()
    (program / "search" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    (program / "README.md").write_text("x")
    (program / "tests").mkdir()
    (program / "tests" / "test_a.py").write_text("x")
    assert of(program) == before
    moved = program.rename(program.with_name("elsewhere"))
    assert of(moved) == before


def test_content_cannot_move_from_file_to_file_unseen(program):
    before = of(program)
    a, b = (program / "search" / name for name in ("a.py", "b.py"))
    content = a.read_text(), b.read_text()
    a.write_text(content[0] + content[1])
    b.write_text("")
    assert of(program) != before
    a.write_text(content[1])
    b.write_text(content[0])
    assert of(program) != before


def test_differences_are_told_in_words():
    then = {"space": "a", "code": "b", "torch": "2.11", "numpy": "2.0"}
    now = {"space": "x", "code": "y", "torch": "2.12", "numpy": "2.0"}
    assert differences(then, now) == [
        "the space's file is another",
        "the program's code is another",
        "torch is 2.12 and was 2.11",
    ]
    assert differences(then, {**then, "torch": "3"}) == ["torch is 3 and was 2.11"]
    assert differences(then, then) == []


def test_a_study_without_an_origin_differs_in_everything():
    now = origin("residual_placement")
    told = differences({}, now)
    assert len(told) == len(now)
    assert all("\n" not in line for line in told)
