"""Studies run from Python."""

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest
from tiny_study import NO_PAGE, described

import search
from search.common.commandline import Interrupted
from search.common.errors import InputError
from search.records.arguments import Arguments, Resources

SCRIPT = """
import sys
import search
from search.common.errors import InputError

space, data, folder, address = sys.argv[1:]
study = search.run(
    space=space, data=data, output=folder, name="study", trials=2, search_folds=1, folds=2, compare_settings=1,
    address=address,
)
print(study)
try:
    search.resume(study.path, address=address)
except InputError as error:
    print("refused:", error)
print("one more", len(search.resume(study.path, repeats=2, address=address, quiet=True).folds) - len(study.folds))
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import search",
        "import search, search.run",
        "import search.run; import search",
        "from search import run; import search",
    ],
)
def test_run_is_callable_however_it_was_imported(imports):
    code = f"{imports}; print(callable(search.run), search.run.app.name); search.run(trails=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert "True" in done.stdout
    assert "True ('run',)" in done.stdout
    assert done.stderr.strip().splitlines()[-1].startswith("TypeError: search.run() has no option trails; it has ")


def test_the_package_names_what_it_offers():
    assert {*search.__all__} <= {*dir(search)}
    for name in search.__all__:
        assert inspect.getdoc(getattr(search, name))
    with pytest.raises(AttributeError, match="walk"):
        search.walk  # noqa: B018


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """What the study is launched with; it ends as it is told to."""
    calls = []

    def end(*given, **more):
        calls.append((*given, more))
        raise Interrupted("resume: python -m search.run --resume folder")

    monkeypatch.setattr("search.study.launch.new_study", end)
    monkeypatch.setattr("search.study.launch.resumed_study", end)
    return calls


def test_every_field_is_an_option_and_stopping_passes_through_handlers_of_errors(launched, tmp_path):
    given = {field.name: field.default for kind in (Arguments, Resources) for field in fields(kind)}
    given |= {"trials": 12, "data": tmp_path, "max_concurrent": 2}
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        search.run(**given, output=tmp_path, name="mine")
    ((arguments, resources, output, name, _, more),) = launched
    assert (arguments, resources) == (Arguments(trials=12, data=str(tmp_path)), Resources(max_concurrent=2))
    assert (output, name) == (str(tmp_path), "mine")
    for part in ("search.run(", "trials=12", f"data={str(tmp_path)!r}", "name='mine'"):
        assert part in more["command"]


def test_only_what_is_given_extends_a_study(launched, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search.resume(tmp_path, repeats=3, cpus_per_trial=2)
    ((folder, resources, extension, _, more),) = launched
    assert (folder, resources, more["force"]) == (str(tmp_path), Resources(cpus_per_trial=2), False)
    assert extension.repeats == 3
    assert extension.trials is extension.data is None
    with pytest.raises(TypeError, match="margin"):
        search.resume(tmp_path, margin=2)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"trials": 0}, "--trials 0"),
        ({"trials": "many"}, "trials='many'"),
        ({"profile": "huge"}, "profile='huge'"),
        ({"until_settled": 4}, "until_settled=4"),
        ({"cpus_per_trial": None}, "cpus_per_trial=None"),
    ],
)
def test_a_bad_option_is_named(launched, options, culprit):
    with pytest.raises(InputError, match=culprit):
        search.run(**options)
    assert launched == []


@pytest.mark.ray
def test_a_study_runs_and_is_extended_from_python(cells, space, cluster, tmp_path):
    given = [sys.executable, "-c", SCRIPT, *map(str, (space, cells, tmp_path, cluster.address))]
    done = subprocess.run(given, capture_output=True, text=True, timeout=600, env=NO_PAGE)
    assert done.returncode == 0, done.stderr
    *_, shown, refused, more = done.stdout.strip().splitlines()
    assert shown.startswith(f"<Study {tmp_path / 'study'}: ")
    assert "finished" in refused
    assert more.startswith("one more ")
    assert int(more.split()[-1]) >= 2 * 2
    first, second = described(tmp_path / "study")["commands"]
    assert first.startswith("search.run(space=")
    assert second.startswith("search.resume(folder=")
