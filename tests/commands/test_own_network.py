"""A network that a space's file defines: searched, compared, tested, transferred, drawn, resumed and used."""

import json
import shutil

import pytest
from tiny_study import command, described, table

pytestmark = pytest.mark.ray
SPACE = """
from dataclasses import dataclass

from torch import nn

from search.space import Configuration, Profile, Space, TrainingConfig
from wbcmodels.traditional.config import Traditional


@dataclass(frozen=True, kw_only=True)
class Mine:
    channels: int
    input_px: int = 16

    def build(self, n_classes, seed):
        features = [nn.Conv2d(3, self.channels, 3), nn.BatchNorm2d(self.channels), nn.ReLU()]
        pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        network = nn.Sequential(*features, *pooled, nn.Linear(4 * self.channels, n_classes))
        network.stages = ("2",)
        return network


def configure(suggest, level, profile):
    if level == "measured":
        measured = Traditional(input_px=16, feature_set="shape")
        return Configuration(model=measured, training=TrainingConfig(epochs=1, lr=0))
    training = TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", 0.01, 0.1), optimizer="adamw")
    return Configuration(model=Mine(channels={"small": 4, "large": 8}[level]), training=training)


SMALL = Profile(width=1.0, epochs=6, transfer_epochs=2, input_px=(16,), lr=(0.01, 0.1), trials_per_level=1,
                search_folds=2)
SPACE = Space(question="Is the larger one better?", factor="network", levels=("small", "large", "measured"),
              settings="own", reference="small", configure=configure, paper=SMALL, quick=(SMALL,),
              paper_networks=False)
"""


@pytest.fixture(scope="module")
def study(cells, others, cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    space = folder / "mine.py"
    space.write_text(SPACE)
    done = command(
        *("search.run", "--space", space, "--data", cells, "--transfer-data", others, "--folds", 2, "--seed", 1),
        *("--address", cluster.address, "--output", folder, "--name", "study"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "study", done.stdout


def test_every_table_holds_its_levels_and_none_of_the_papers(study):
    folder, printed = study
    levels = ["small", "large", "measured"]
    assert set(table(folder, "trials")["level"]) == set(table(folder, "comparison")["level"]) == set(levels)
    macs = table(folder, "comparison").query("setting.isna()").set_index("level")["macs"]
    assert macs["small"] == 14 * 14 * 4 * 27 + 16 * 3
    assert macs["large"] == 14 * 14 * 8 * 27 + 32 * 3
    assert "paper" not in printed
    assert "last linear layer" in printed
    assert "16 px" in printed
    description = described(folder)
    assert (description["widths"], description["sides_px"]) == ([], [16])


def test_what_was_measured_is_a_table(study, cells):
    folder, _ = study
    features = table(folder, "features")
    assert len(features) == sum(1 for _ in cells.rglob("*.png"))
    assert set(features["level"]) == {"measured"}
    assert features.filter(like="feature_").notna().all(axis=None)


def test_the_network_is_used_only_if_its_code_is_trusted(study, cells, tmp_path):
    folder, _ = study
    source = folder / "model" / "network.py"
    winner = described(folder)["winner"]["level"]
    predict = ("search.predict", folder, cells, "--output", tmp_path / "predicted.parquet")
    assert winner != "measured"  # the classes differ in colour, and it measures shapes
    assert "class Mine" in source.read_text()
    assert json.loads((folder / "model" / "config.json").read_text())["class"] == ["network.py", "Mine"]
    refused = command(*predict)
    assert refused.returncode == 2
    assert str(source) in refused.stderr
    assert "--trust" in refused.stderr
    done = command(*predict, "--trust")
    assert done.returncode == 0, done.stderr
    assert len(table(tmp_path, "predicted")) == sum(1 for _ in cells.rglob("*.png"))


def test_a_report_without_trust_draws_all_but_what_the_network_sees(study, tmp_path):
    folder = shutil.copytree(study[0], tmp_path / "study")
    done = command("search.report", folder, env=None)
    assert done.returncode == 0, done.stderr
    assert "--trust" in done.stdout
    page = (folder / "report.html").read_text()
    assert "Almotairi" not in page
    assert "What the system without a network measures" in page
    attention = folder / "figures" / "attention.png"
    assert not attention.exists()
    trusted = command("search.report", folder, "--trust", env=None)
    assert trusted.returncode == 0, trusted.stderr
    assert attention.exists()


def test_the_study_is_extended_on_a_machine_where_its_files_have_other_places(study, cells, cluster, tmp_path):
    folder = shutil.copytree(study[0], tmp_path / "study")
    description = json.loads((folder / "study.json").read_text())
    description["arguments"] |= {"space": "/gone/mine.py", "data": "/gone/cells"}
    (folder / "study.json").write_text(json.dumps(description))
    resume = ("search.run", "--resume", folder, "--trials", 6, "--address", cluster.address)
    refused = command(*resume)
    assert refused.returncode == 2
    assert "/gone/mine.py" in refused.stderr
    space = shutil.copy(study[0].parent / "mine.py", tmp_path / "theirs.py")
    images = shutil.copytree(cells, tmp_path / "images")
    done = command(*resume, "--space", space, "--data", images)
    assert done.returncode == 0, done.stderr
    assert len(table(folder, "trials")) == 6
    arguments = json.loads((folder / "study.json").read_text())["arguments"]
    assert (arguments["space"], arguments["data"]) == (str(space), str(images))
