"""The notebook and the example of the documentation, run as they stand."""

import re
import warnings

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from written_study import CLASSES, write_study

import search
from search.common.installation import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the study and the images that the documentation names."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "results").mkdir()
    (folder / "new_cells").mkdir()
    write_study(folder / "results" / "my_study", n_trials=16, n_images=200, stop=("transfer", 0))
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "new_cells" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def shown(folder):
    """What each cell of the notebook shows in a kernel: text and HTML."""
    notebook = nbformat.read(DOCS / "study.ipynb", as_version=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's client
        NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [output.output_type for cell in cells for output in cell.outputs] == ["execute_result"] * len(cells)
    return [cell.outputs[0].data for cell in cells]


def test_the_notebook_shows_the_study_its_leaderboard_and_its_predictions(shown, folder):
    study = search.open(folder / "results" / "my_study")
    whole, leaderboard, by_class, predicted, n_parameters = shown
    assert study.verdict.headline in whole["text/html"]
    assert whole["text/plain"].startswith("<Study results/my_study: ")
    for level in study.results.description.levels:
        assert f">{level}<" in whole["text/html"]
        assert f">{level}<" in leaderboard["text/html"]
    assert all(name in by_class["text/html"] for name in CLASSES)
    assert "new_cells/1.png" in predicted["text/html"]
    assert int(n_parameters["text/plain"]) == sum(p.numel() for p in study.model.parameters())


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(DOCS / "study.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_the_example_of_the_page_runs(folder, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code, {})
    printed = capsys.readouterr().out
    assert "Use placement" in printed
    assert "new_cells/0.png" in printed
