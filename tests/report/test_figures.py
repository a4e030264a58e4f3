import io
import json
import subprocess
import sys

import matplotlib
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from written_study import write_study as write_whole_study

from search.common.errors import InputError, StudyFailedError
from search.common.metrics import METRIC_NAMES
from search.records.results import read_results
from search.records.schema import KEY_COLUMNS
from search.report.figures.confusion import (
    calibration_bins,
    draw_confusion,
    draw_reliability,
    expected_calibration_error,
)
from search.report.figures.curves import draw_curves
from search.report.figures.draw import draw_all
from search.report.figures.history import draw_history
from search.report.figures.levels import draw_costs, draw_differences, draw_scores, pareto_front
from search.report.figures.parameters import FEWEST_TRIALS, RAIL, draw_importance, draw_parallel, importances
from search.report.figures.style import looks
from search.report.figures.transfer import draw_transfer

LEVELS = ("none", "1", "1+2+3")
PAPER = ("paper_plain", "paper_wbcsnet2")
CLASSES = ("basophil", "lymphocyte", "monocyte")
OF_SEARCH = ("history", "importance", "parameters")
OF_ALL = (*OF_SEARCH, "scores", "differences", "costs", "curves", "confusion", "reliability", "transfer")
METRIC = "balanced_accuracy"


def drawn(study):
    return draw_all(read_results(study))


def keyed(rows, **key):
    """Rows with all columns of the key, null where nothing is said."""
    return pd.DataFrame([dict.fromkeys(KEY_COLUMNS) | key | row for row in rows])


def make_trials(levels=LEVELS, n=24, seed=0):
    """Trials of a conditional space: `rate` is there only where `norm` is group. The best have a high lr."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        norm, lr = ("batch", "group")[int(rng.integers(2))], float(10 ** rng.uniform(-4, -1))
        rows.append(
            {
                "number": number,
                "level": levels[number % len(levels)],
                "state": "PRUNED" if number % 7 == 6 else "COMPLETE",
                "value": 0.9 + 0.02 * np.log10(lr) + 0.001 * rng.normal(),
                "params_lr": lr,
                "params_norm": norm,
                "params_rate": float(rng.uniform(0, 0.6)) if norm == "group" else None,
                "params_same": 28,
            }
        )
    rows[-1] |= {"state": "FAIL", "value": None}
    return keyed(rows, phase="search")


def make_comparison(levels=LEVELS, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for settings, names in (("tuned", levels), ("equal", levels), (None, PAPER)):
        for index, level in enumerate(names):
            row = {
                "level": level,
                "settings": settings,
                "n_parameters": 10**6 * (index + 1),
                "macs": 10**7 * (index + 1),
            }
            for name in METRIC_NAMES:
                mean = float(rng.uniform(0.8, 0.9))
                row |= {
                    name: mean + 0.001,
                    f"{name}_mean": mean,
                    f"{name}_low": mean - 0.05,
                    f"{name}_high": mean + 0.15,
                }
            difference = float(rng.normal(0, 0.05)) if level != "none" else 0.0
            width = 0.04 if level != "none" else 0.0
            row |= {
                "difference_reference": difference,
                "difference_reference_low": difference - width,
                "difference_reference_high": difference + width,
            }
            rows.append(row)
    return keyed(rows, phase="compare", data="cells")


def make_epochs(level, n_folds=3, n_epochs=4, seed=0):
    rng = np.random.default_rng(seed)
    columns = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")
    rows = [
        {"fold": fold, "epoch": epoch, **dict(zip(columns, rng.uniform(size=4), strict=True))}
        for fold in range(n_folds)
        for epoch in range(1, n_epochs + 1)
    ]
    return keyed(rows, phase="compare", level=level, settings="tuned", repeat=0)


def make_predictions(level, n=200, repeats=1, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for repeat in range(repeats):
        for image in range(n):
            label = int(rng.integers(2))  # no image is of the last class
            logits = rng.normal(size=3) + 1.5 * np.eye(3)[label]
            probabilities = np.exp(logits) / np.exp(logits).sum()
            rows.append(
                {
                    "repeat": repeat,
                    "image": f"{image}.png",
                    "label": CLASSES[label],
                    "predicted": CLASSES[probabilities.argmax()],
                    **{f"probability_{name}": p for name, p in zip(CLASSES, probabilities, strict=True)},
                    "probability_of_another_data_set": None,
                }
            )
    return keyed(rows, phase="compare", level=level, settings="tuned")


def make_transfer(levels=("1", *PAPER)):
    tuned = make_comparison(levels).query("settings == 'tuned'")
    return pd.concat([tuned.assign(way=way, data="others") for way in ("scratch", "frozen", "fine_tuned")])


def best_level(comparison):
    tuned = comparison[comparison["settings"] == "tuned"]
    return tuned.loc[tuned[METRIC].idxmax(), "level"]


def write_study(folder, tables, levels=LEVELS):
    folder.mkdir(exist_ok=True)
    description = {"arguments": {"metric": METRIC}, "factor": "placement", "levels": levels, "reference": "none"}
    (folder / "study.json").write_text(json.dumps(description), encoding="utf-8")
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return folder


def all_tables(levels=LEVELS):
    comparison = make_comparison(levels)
    winner = best_level(comparison)
    return {
        "trials": make_trials(levels),
        "comparison": comparison,
        "epochs": make_epochs(winner),
        "predictions": make_predictions(winner),
        "transfer": make_transfer((winner, *PAPER)),
    }


def files_of(names):
    return [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def points(axes, label):
    """Positions of the points of a series drawn with intervals."""
    series = next(c for c in axes.containers if c.get_label() == label)
    return series.lines[0].get_xdata(), series


def assert_distinct(handles):
    def style(handle):
        line = handle.lines[0] if hasattr(handle, "lines") else handle
        if not hasattr(line, "get_marker"):
            return "area"
        return line.get_color(), line.get_marker(), line.get_linestyle(), line.get_markerfacecolor()

    assert len({style(handle) for handle in handles}) == len(handles)


def test_all_figures_of_a_study_are_drawn_twice_the_same_and_are_not_blank(tmp_path):
    study = write_study(tmp_path / "study", all_tables())
    before = dict(matplotlib.rcParams)
    files = drawn(study)
    assert [file.name for file in files] == files_of(OF_ALL)
    assert dict(matplotlib.rcParams) == before
    for file in files:
        if file.suffix == ".png":
            pixels = np.asarray(Image.open(file).convert("RGB"), dtype=float)
            assert pixels.std() > 5, file
            assert (pixels[[0, -1]] == 255).all(), f"{file}: white to its edges, so nothing is cut off"
            assert (pixels[:, [0, -1]] == 255).all(), f"{file}: white to its edges, so nothing is cut off"
        else:
            assert "<path" in file.read_text(encoding="utf-8")
    first = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in drawn(study)] == first
    assert sorted(file.name for file in (study / "figures").iterdir()) == sorted(files_of(OF_ALL))


@pytest.mark.parametrize("schema", ["no other files", "empty tables"])
def test_a_study_interrupted_in_the_search_has_the_figures_of_the_search(tmp_path, schema):
    tables = {"trials": make_trials()}
    if schema == "empty tables":
        tables |= {name: table.iloc[:0] for name, table in all_tables().items() if name != "trials"}
    assert [file.name for file in drawn(write_study(tmp_path, tables))] == files_of(OF_SEARCH)


def test_a_study_without_tables_has_no_figures(tmp_path):
    assert drawn(write_study(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("missing", "lacks"),
    [
        ("transfer", {"transfer"}),
        ("epochs", {"curves"}),
        ("predictions", {"confusion", "reliability"}),
        ("trials", set(OF_SEARCH)),
        ("comparison", {"scores", "differences", "costs", "curves", "confusion", "reliability"}),
    ],
)
def test_what_a_missing_table_held_is_left_out_and_an_older_file_of_it_removed(tmp_path, missing, lacks):
    study = write_study(tmp_path, {name: table for name, table in all_tables().items() if name != missing})
    old = study / "figures" / f"{sorted(lacks)[0]}.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    old.with_suffix(".jpg").write_bytes(b"older")
    assert [file.name for file in drawn(study)] == files_of(name for name in OF_ALL if name not in lacks)
    assert not old.exists()
    assert not old.with_suffix(".jpg").exists()


def test_a_file_in_the_place_of_the_figures_is_named(tmp_path):
    study = write_study(tmp_path, {"trials": make_trials()})
    (study / "figures").touch()
    with pytest.raises(StudyFailedError, match="figures"):
        drawn(study)


def test_what_is_not_a_study_or_not_a_table_is_named(tmp_path):
    with pytest.raises(InputError, match="no study"):
        drawn(tmp_path)
    study = write_study(tmp_path, {})
    (study / "comparison.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"comparison\.parquet"):
        drawn(study)


def test_names_of_any_kind_are_drawn(tmp_path):
    levels = (
        "none",
        "_hidden",
        "$x^2$",
        "a\\b {c} & <d> 100 %",
        "the placement with the longest of all names, by far",
    )
    files = drawn(write_study(tmp_path, all_tables(levels), levels))
    assert [file.name for file in files] == files_of(OF_ALL)
    for figure in (draw_costs(make_comparison(levels), METRIC), draw_history(make_trials(levels), METRIC)):
        labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert set(levels) <= set(labels)


def test_curves_are_the_folds_and_their_mean():
    epochs = make_epochs("1")
    noise = make_epochs("2", seed=1)
    left, right = draw_curves(pd.concat([epochs, noise]), "1").axes
    for axes, quantity in ((left, "accuracy"), (right, "loss")):
        lines = [line.get_ydata() for line in axes.get_lines()]
        expected = []
        for part in ("train", "val"):
            folds = [rows[f"{part}_{quantity}"].to_numpy() for _, rows in epochs.groupby("fold")]
            expected += [*folds, np.mean(folds, axis=0)]
        assert np.allclose(lines, expected)
        assert_distinct(axes.get_legend_handles_labels()[0])
    assert draw_curves(epochs, "3") is None


def test_scores_are_the_means_over_folds_with_their_intervals():
    comparison = make_comparison()
    figure = draw_scores(comparison)
    for axes, column in zip(figure.axes, ("accuracy", "sensitivity", "specificity"), strict=True):
        for settings, label in (("tuned", "at its best settings"), ("equal", "all at the same settings")):
            rows = comparison[comparison["settings"] == settings]
            drawn, series = points(axes, label)
            assert np.allclose(drawn, rows[f"{column}_mean"])
            ends = np.array([segment[:, 0] for segment in series.lines[2][0].get_segments()])
            assert np.allclose(ends, rows[[f"{column}_low", f"{column}_high"]])
        assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [*LEVELS, *PAPER]
        assert axes.get_xlim()[1] < 1.1  # the intervals reach beyond 1
    assert_distinct(figure.axes[0].get_legend_handles_labels()[0])


def test_a_score_of_one_fold_is_drawn_without_an_interval():
    comparison = make_comparison()
    for name in METRIC_NAMES:
        comparison[[f"{name}_low", f"{name}_high"]] = np.nan
    draw_scores(comparison).savefig(io.BytesIO(), format="svg")


def test_differences_are_in_points_without_the_reference():
    comparison = make_comparison()
    axes = draw_differences(comparison, METRIC, "none").axes[0]
    rows = comparison[(comparison["settings"] == "tuned") & (comparison["level"] != "none")]
    assert np.allclose(points(axes, "at its best settings")[0], 100 * rows["difference_reference"])
    assert [text.get_text() for text in axes.get_yticklabels()] == [*LEVELS[1:], *PAPER]
    region = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (region.x0, region.x1) == (pytest.approx(-1), pytest.approx(1))
    assert draw_differences(comparison.assign(difference_reference=np.nan), METRIC, "none") is None


def test_one_level_is_no_comparison():
    alone = make_comparison(("all",)).query("level == 'all'")
    assert draw_scores(alone) is None
    assert draw_differences(alone, METRIC, "all") is None
    assert draw_costs(alone, METRIC) is None


def test_costs_are_millions_against_pooled_scores():
    comparison = make_comparison()
    figure = draw_costs(comparison, METRIC)
    rows = comparison[comparison["settings"] != "equal"]
    panels = [(score, cost) for score in ("accuracy", METRIC) for cost in ("macs", "n_parameters")]
    for axes, (score, cost) in zip(figure.axes, panels, strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for _, row in rows.iterrows():
            assert lines[row["level"]].get_xydata().tolist() == [[row[cost] / 1e6, row[score]]]
        assert_distinct(axes.get_lines())
    assert len(draw_costs(comparison, "accuracy").axes) == 2


def test_the_front_holds_what_nothing_beats():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"macs": rng.integers(1, 9, 30), "accuracy": rng.integers(1, 9, 30) / 10})
    front = pareto_front(rows, "macs", "accuracy")
    beaten = [
        ((rows["macs"] <= row.macs) & (rows["accuracy"] >= row.accuracy)).sum()
        > ((rows["macs"] == row.macs) & (rows["accuracy"] == row.accuracy)).sum()
        for row in rows.itertuples()
    ]
    expected = rows[~np.array(beaten)].drop_duplicates().sort_values("macs")
    assert front.to_numpy().tolist() == expected.to_numpy().tolist()


def test_the_confusion_matrix_counts_and_divides_by_row():
    predictions = make_predictions("1")
    left, right, *_ = draw_confusion(predictions, "1").axes
    counts = np.array([int(text.get_text()) for text in left.texts]).reshape(3, 3)
    table = pd.crosstab(predictions["label"], predictions["predicted"]).reindex(
        index=CLASSES, columns=CLASSES, fill_value=0
    )
    assert (counts == table.to_numpy()).all()
    shares = [text.get_text() for text in right.texts]
    assert shares[-3:] == [""] * 3  # no image of this class
    assert np.allclose(np.array(shares[:6], dtype=float).reshape(2, 3).sum(axis=1), 100, atol=0.2)
    assert draw_confusion(predictions, "2") is None


def test_reliability_counts_every_image_once():
    predictions = make_predictions("1", repeats=2)
    figure = draw_reliability(predictions, "1")
    upper, lower = figure.axes
    assert "n = 200 images" in upper.get_title()
    assert sum(bar.get_height() for bar in lower.patches) == 200
    assert draw_reliability(predictions, "2") is None


def test_calibration_error_is_that_of_its_definition():
    confidence = np.array([0.95, 0.95, 0.85, 1.0])
    correct = np.array([True, False, True, True])
    bins = calibration_bins(confidence, correct)
    assert bins["n"].tolist() == [1, 3]
    assert bins["right"].tolist() == [1, 2]
    assert expected_calibration_error(bins) == pytest.approx(0.25 * 0.15 + 0.75 * abs(2 / 3 - 2.9 / 3))
    assert expected_calibration_error(calibration_bins(np.array([0.5, 0.5]), np.array([True, False]))) == 0


def test_transfer_has_a_point_for_every_network_and_way():
    transfer = make_transfer()
    figure = draw_transfer(transfer)
    for label, way in (("scratch", "scratch"), ("frozen", "frozen"), ("fine tuned", "fine_tuned")):
        drawn, _ = points(figure.axes[0], label)
        assert np.allclose(drawn, transfer[transfer["way"] == way]["accuracy_mean"])
    assert_distinct(figure.axes[0].get_legend_handles_labels()[0])
    assert draw_transfer(transfer[transfer["way"] != "frozen"]) is not None


def test_history_has_every_trial_and_the_best_so_far():
    trials = make_trials()
    figure = draw_history(trials.sample(frac=1, random_state=0), METRIC)
    axes = figure.axes[0]
    best = next(line for line in axes.get_lines() if line.get_label() == "best so far")
    complete = trials[trials["state"] == "COMPLETE"]
    assert np.allclose(best.get_ydata(), complete["value"].cummax())
    drawn = {tuple(point) for line in axes.get_lines() if line is not best for point in line.get_xydata()}
    ended = trials[trials["value"].notna()]
    assert drawn == {*zip(ended["number"], ended["value"], strict=True), (trials["number"].max(), 0)}
    for legend in figure.legends:
        assert_distinct(legend.legend_handles)
    assert draw_history(trials[trials["state"] == "FAIL"], METRIC) is None
    assert draw_history(trials[trials["state"] == "PRUNED"], METRIC) is not None


def test_importance_is_among_the_trials_that_have_the_parameter():
    trials = make_trials(n=90)
    rows = importances(trials, "placement", {"lr"}).set_index("name")
    complete = trials[trials["state"] == "COMPLETE"]
    assert rows.index[0] == "lr"
    assert set(rows.index) == {"lr", "norm", "rate", "placement"}  # `same` does not vary
    assert rows.loc["lr", "n_trials"] == rows.loc["norm", "n_trials"] == len(complete)
    assert rows.loc["rate", "n_trials"] == complete["params_rate"].notna().sum()
    figure = draw_importance(trials, "placement", {"lr"})
    assert [bar.get_width() for bar in figure.axes[0].patches] == rows["importance"].tolist()


def test_importance_of_too_few_or_equal_trials_is_left_out():
    trials = make_trials()
    assert draw_importance(trials.head(FEWEST_TRIALS - 1), "placement", ()) is None
    assert draw_importance(trials.assign(value=0.5), "placement", ()) is None


def test_parallel_coordinates_run_through_the_parameters_and_below_what_is_not_set():
    trials = make_trials()
    axes = draw_parallel(trials, "placement", METRIC, {"lr"}).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == ["placement", "lr", "norm", "rate", "balanced accuracy"]
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value")
    lines = np.array([line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == len(names)])
    logs = np.log(complete["params_lr"])
    assert np.allclose(lines[:, 1], (logs - logs.min()) / (logs.max() - logs.min()))
    assert ((lines[:, 3] == RAIL) == complete["params_rate"].isna()).all()
    assert np.allclose(lines[:, 4], (complete["value"] - complete["value"].min()) / np.ptp(complete["value"]))
    assert "not set" in [text.get_text() for text in axes.texts]


def test_levels_stand_in_the_order_of_the_space_whichever_completed_first():
    trials = make_trials()
    trials.loc[trials["number"].isin([0, 1]), ["state", "value"]] = "FAIL", np.nan
    axes = draw_parallel(trials, "placement", METRIC, {"lr"}).axes[0]
    shown = [text for text in axes.texts if text.get_text() in LEVELS and text.get_position()[0] < 0]
    from_the_top = sorted(shown, key=lambda text: -text.get_position()[1])
    assert [text.get_text() for text in from_the_top] == list(LEVELS)


def test_trials_that_all_score_the_same_are_drawn():
    assert draw_parallel(make_trials().assign(value=0.5), "placement", METRIC, {"lr"}) is not None


def test_scales_are_those_of_optunas_journal(tmp_path):
    tables = {"trials": make_trials()}
    linear = write_study(tmp_path / "linear", tables)
    log = write_study(tmp_path / "log", tables)
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(log / "optuna.journal"))))
    study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)})
    written = [(drawn(folder), folder / "figures" / "parameters.png") for folder in (linear, log)]
    assert written[0][1].read_bytes() != written[1][1].read_bytes()
    assert not (linear / "optuna.journal").exists()


def test_seventy_names_look_different():
    seen = [tuple(look.values()) for look in looks(str(n) for n in range(70)).values()]
    assert len(set(seen)) == 70


def test_the_command_names_what_it_draws_and_what_is_no_study(tmp_path):
    study = write_whole_study(tmp_path / "study", stop=("compare", 0))

    def report(folder):
        return subprocess.run([sys.executable, "-m", "search.report", folder], capture_output=True, text=True)

    done = report(study)
    assert done.returncode == 0, done.stderr
    *figures, page = done.stdout.splitlines()
    assert sorted(figures) == sorted(map(str, (study / "figures").iterdir()))
    assert page == str(study / "report.html")
    none = report(tmp_path)
    assert none.returncode == 2
    assert str(tmp_path) in none.stderr
    assert len(none.stderr.splitlines()) == 1
