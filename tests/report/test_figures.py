"""Figures: what is drawn where, from rows of a study's tables."""

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from search.analysis.verdict import verdict
from search.common.errors import StudyFailedError
from search.common.metrics import METRIC_NAMES, calibration_error
from search.records.results import read_results
from search.report.__main__ import main
from search.report.figures.confusion import (
    calibration_bins,
    draw_confusion,
    draw_reliability,
)
from search.report.figures.curves import draw_curves
from search.report.figures.draw import draw_all
from search.report.figures.effects import draw_effects, draw_other_effects
from search.report.figures.history import draw_history
from search.report.figures.levels import draw_costs, draw_scores, pareto_front
from search.report.figures.parameters import FEWEST_TRIALS, RAIL, draw_importance, draw_parallel, importances
from search.report.figures.style import looks
from search.report.figures.transfer import draw_transfer

LEVELS, PAPER = ("none", "1", "1+2+3"), ("paper_plain", "paper_wbcsnet2")
CLASSES = ("basophil", "lymphocyte", "monocyte")
OF_SEARCH = ("history", "importance", "parameters")
OF_COMPARISON = (
    *("effects", "other_effects", "interactions", "scores", "costs"),
    *("curves", "confusion", "reliability", "mistakes"),
)
OF_ALL = (*OF_SEARCH, *OF_COMPARISON, "transfer", "features", "attention")
METRIC = "balanced_accuracy"
LABELS = ("over all settings", "at setting 0", "the paper's networks")


def make_trials(levels=LEVELS, n=24):
    """Trials of a conditional space: `rate` is null unless `norm` is group. The best have a high lr."""
    rng = np.random.default_rng(0)
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
    return pd.DataFrame(rows)


def make_rows(levels=LEVELS, seed=0):
    """Rows of a comparison."""
    rng = np.random.default_rng(seed)
    rows = []
    for index, level in enumerate(levels):
        row = {"level": level, "n_parameters": 10**6 * (index + 1), "macs": 10**7 * (index + 1), "data": "others"}
        for name in METRIC_NAMES:
            mean = float(rng.uniform(0.8, 0.9))
            row |= {
                name: mean + 0.001,
                f"{name}_mean": mean,
                f"{name}_low": mean - 0.05,
                f"{name}_high": mean + 0.15,
            }
        rows.append(row)
    return pd.DataFrame(rows)


WHOLE, AT_SETTING, NETWORKS = make_rows(), make_rows(seed=1), make_rows(PAPER, seed=2)
NONE = WHOLE.iloc[:0]


def make_predictions(n=200, repeats=1):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=repeats * n)  # no image is of the last class
    logits = rng.normal(size=(repeats * n, 3)) + 1.5 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array(CLASSES)
    frame = pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in CLASSES])
    return frame.assign(
        repeat=np.repeat(range(repeats), n),
        label=names[labels],
        predicted=names[probabilities.argmax(1)],
        probability_of_another_data_set=None,
    )


def files_of(names):
    return [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def series(axes, label):
    """A series drawn with intervals."""
    return next(container for container in axes.containers if container.get_label() == label)


def points(axes, label):
    return series(axes, label).lines[0].get_xdata()


def assert_distinct(handles):
    def style(handle):
        line = handle.lines[0] if hasattr(handle, "lines") else handle
        if not hasattr(line, "get_marker"):
            return "area"
        return line.get_color(), line.get_marker(), line.get_linestyle(), line.get_markerfacecolor()

    assert len({style(handle) for handle in handles}) == len(handles)


def test_all_figures_of_a_study_are_drawn_and_neither_blank_nor_cut_off(study):
    files = {file.name: file for file in (study / "figures").iterdir()}
    assert sorted(files) == sorted(files_of(OF_ALL))
    for name in OF_ALL:
        pixels = np.asarray(Image.open(files[f"{name}.png"]).convert("RGB"), dtype=float)
        assert pixels.std() > 5, name
        assert (pixels[[0, -1]] == 255).all(), name
        assert (pixels[:, [0, -1]] == 255).all(), name
        assert "<path" in files[f"{name}.svg"].read_text(encoding="utf-8")


def test_a_study_without_a_comparison_has_the_figures_of_the_search_alone_and_the_same_each_time(searching):
    before = dict(matplotlib.rcParams)
    old = searching / "figures" / "curves.png"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    results = read_results(searching)
    assert len(results.trials) >= FEWEST_TRIALS
    files = draw_all(results, None)
    drawn = [file.read_bytes() for file in files]
    assert [file.name for file in files] == files_of(OF_SEARCH)
    assert not old.exists()
    assert [file.read_bytes() for file in draw_all(results, None)] == drawn
    assert dict(matplotlib.rcParams) == before


def test_a_study_without_tables_has_no_figures_and_names_what_is_in_their_place(searching, tmp_path):
    results = read_results(searching)
    empty = replace(results, path=tmp_path, tables={name: rows.iloc[:0] for name, rows in all_tables(results)})
    assert draw_all(empty, None) == []
    (tmp_path / "figures").touch()
    with pytest.raises(StudyFailedError, match="figures"):
        draw_all(replace(results, path=tmp_path), None)


def all_tables(results):
    names = ("trials", "epochs", "folds", "predictions", "cells", "comparison", "transfer")
    return [(name, results.tables[name]) for name in names]


def test_the_command_names_the_files_that_it_writes(searching, capsys):
    main(str(searching))
    *figures, page = capsys.readouterr().out.splitlines()
    assert sorted(figures) == sorted(map(str, (searching / "figures").iterdir()))
    assert page == str(searching / "report.html")


def test_names_of_any_kind_are_drawn():
    levels = ("none", "_hidden", "$x^2$", "a\\b {c} & <d> 100 %", "the placement with the longest of all names")
    rows, trials = make_rows(levels), make_trials(levels)
    for figure in (draw_costs(rows, NONE, METRIC), draw_history(trials, METRIC)):
        labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert set(levels) <= set(labels)
        figure.savefig(io.BytesIO(), format="svg")


def test_curves_are_the_folds_and_their_mean():
    rng = np.random.default_rng(0)
    columns = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")
    epochs = pd.DataFrame(rng.uniform(size=(12, 4)), columns=columns)
    epochs = epochs.assign(repeat=0, fold=np.repeat(range(3), 4), epoch=[*range(1, 5)] * 3)
    for axes, quantity in zip(draw_curves(epochs, "1").axes, ("accuracy", "loss"), strict=True):
        lines = [line.get_ydata() for line in axes.get_lines()]
        expected = []
        for part in ("train", "val"):
            folds = [rows[f"{part}_{quantity}"].to_numpy() for _, rows in epochs.groupby("fold")]
            expected += [*folds, np.mean(folds, axis=0)]
        assert np.allclose(lines, expected)
        assert_distinct(axes.get_legend_handles_labels()[0])
    assert draw_curves(epochs.iloc[:0], "1") is None


def test_scores_are_means_over_folds_with_their_intervals():
    figure = draw_scores(WHOLE, {"setting 0": AT_SETTING}, NETWORKS, LABELS[0])
    for axes, column in zip(figure.axes, ("accuracy", "sensitivity", "specificity"), strict=True):
        for label, rows in zip(LABELS, (WHOLE, AT_SETTING, NETWORKS), strict=True):
            assert np.allclose(points(axes, label), rows[f"{column}_mean"])
            if label == LABELS[1]:
                assert not series(axes, label).has_xerr
                continue
            ends = np.array([segment[:, 0] for segment in series(axes, label).lines[2][0].get_segments()])
            assert np.allclose(ends, rows[[f"{column}_low", f"{column}_high"]])
        assert axes.get_xlim()[1] < 1.1  # the intervals reach beyond 1
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [*LEVELS, *PAPER]
    assert_distinct(figure.axes[0].get_legend_handles_labels()[0])
    ends = [f"{name}{end}" for name in METRIC_NAMES for end in ("_low", "_high")]
    one_fold = WHOLE.assign(**dict.fromkeys(ends, np.nan))
    draw_scores(one_fold, {}, NONE, LABELS[0]).savefig(io.BytesIO(), format="svg")


@pytest.mark.parametrize("kind", ["open", "settled", "control", "few"])
def test_effects_are_drawn_in_points_over_the_margin_with_their_outcomes(studies, kind):
    found, outcomes = verdict(studies[kind]), {}
    axes = draw_effects(found.main, found.by_setting, 0.02, {0: "setting 0", 1: "setting 1"}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [finding.contrast for finding in found.main]
    for row, finding in enumerate(found.main):
        outcomes.setdefault(finding.outcome or "too few data to judge", []).append((row, finding))
    for label, rows in outcomes.items():
        drawn = series(axes, label)
        assert np.allclose(drawn.lines[0].get_xydata(), [(100 * f.estimate, row) for row, f in rows])
        if kind != "few":
            ends = [segment[:, 0] for segment in drawn.lines[2][0].get_segments()]
            assert np.allclose(ends, [(100 * f.low, 100 * f.high) for _, f in rows])
    assert_distinct(axes.get_legend_handles_labels()[0])
    region = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (region.x0, region.x1) == (pytest.approx(-2), pytest.approx(2))
    for setting in (0, 1):
        (line,) = [line for line in axes.get_lines() if line.get_label() == f"at setting {setting}"]
        assert np.allclose(line.get_xdata(), [100 * f.estimate for f in found.by_setting if f.setting == setting])


def test_other_metrics_have_a_panel_each_and_log_loss_no_margin(studies):
    others = verdict(studies["open"]).others
    panels = [axes for axes in draw_other_effects(others, 0.01).axes if axes.get_visible()]
    assert [bool(axes.patches) for axes in panels] == [metric != "log_loss" for metric in others]
    for axes, (metric, family) in zip(panels, others.items(), strict=True):
        drawn = sorted(x for c in axes.containers for x in c.lines[0].get_xdata())
        assert np.allclose(drawn, sorted((1 if metric == "log_loss" else 100) * f.estimate for f in family))


def test_one_level_is_no_comparison():
    alone = WHOLE.head(1)
    assert draw_scores(alone, {}, NONE, LABELS[0]) is draw_costs(alone, NONE, METRIC) is None
    assert draw_effects((), (), 0.01, {}) is draw_other_effects({}, 0.01) is None


def test_costs_are_millions_against_pooled_scores():
    figure = draw_costs(WHOLE, NETWORKS, METRIC)
    panels = [(score, cost) for score in ("accuracy", METRIC) for cost in ("macs", "n_parameters")]
    for axes, (score, cost) in zip(figure.axes, panels, strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for _, row in pd.concat([WHOLE, NETWORKS]).iterrows():
            assert lines[row["level"]].get_xydata().tolist() == [[row[cost] / 1e6, row[score]]]
        assert_distinct(axes.get_lines())
    assert len(draw_costs(WHOLE, NETWORKS, "accuracy").axes) == 2


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
    predictions = make_predictions()
    left, right, *_ = draw_confusion(predictions, "1").axes
    counts = np.array([int(text.get_text()) for text in left.texts]).reshape(3, 3)
    table = pd.crosstab(predictions["label"], predictions["predicted"])
    assert (counts == table.reindex(index=CLASSES, columns=CLASSES, fill_value=0).to_numpy()).all()
    shares = [text.get_text() for text in right.texts]
    assert shares[-3:] == [""] * 3  # no image of this class
    assert np.allclose(np.array(shares[:6], dtype=float).reshape(2, 3).sum(axis=1), 100, atol=0.2)
    assert "2 repeats" in draw_confusion(make_predictions(repeats=2), "1").get_suptitle()
    assert draw_confusion(predictions.iloc[:0], "1") is draw_reliability(predictions.iloc[:0], "1") is None


def test_reliability_counts_every_prediction():
    upper, lower = draw_reliability(make_predictions(), "1").axes
    assert "n = 200" in upper.get_title()
    assert sum(bar.get_height() for bar in lower.patches) == 200


def test_reliability_shows_the_calibration_error_of_the_tables():
    confidence = np.array([0.95, 0.95, 0.85, 1.0])
    correct = np.array([True, False, True, True])
    bins = calibration_bins(confidence, correct)
    assert bins["n"].tolist() == [1, 3]
    assert bins["right"].tolist() == [1, 2]
    by_bin = (bins["n"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / 4
    assert calibration_error(confidence, correct) == pytest.approx(by_bin)


def test_transfer_has_a_point_for_every_network_and_way():
    ways = {"scratch": "scratch", "frozen": "frozen", "fine_tuned": "fine-tuned"}
    transfer = pd.concat([make_rows(seed=seed).assign(way=way) for seed, way in enumerate(ways)])
    axes = draw_transfer(transfer).axes[0]
    for way, label in ways.items():
        assert np.allclose(points(axes, label), transfer[transfer["way"] == way]["accuracy_mean"])
    assert_distinct(axes.get_legend_handles_labels()[0])
    assert draw_transfer(transfer[transfer["way"] != "frozen"]) is not None


def test_history_has_every_trial_and_the_best_so_far():
    trials = make_trials()
    figure = draw_history(trials.sample(frac=1, random_state=0), METRIC)
    axes = figure.axes[0]
    best = next(line for line in axes.get_lines() if line.get_label() == "best so far")
    assert np.allclose(best.get_ydata(), trials.loc[trials["state"] == "COMPLETE", "value"].cummax())
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
    # Levels are in the space's order, whichever completed first.
    trials.loc[trials["number"].isin([0, 1]), ["state", "value"]] = "FAIL", np.nan
    axes = draw_parallel(trials, "placement", {"lr"}, METRIC).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == ["placement", "lr", "norm", "rate", "balanced accuracy"]
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value")
    lines = np.array([line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == len(names)])
    for column, values in ((1, np.log(complete["params_lr"])), (4, complete["value"])):
        assert np.allclose(lines[:, column], (values - values.min()) / np.ptp(values))
    assert ((lines[:, 3] == RAIL) == complete["params_rate"].isna()).all()
    assert "not set" in [text.get_text() for text in axes.texts]
    shown = [text for text in axes.texts if text.get_text() in LEVELS and text.get_position()[0] < 0]
    from_the_top = sorted(shown, key=lambda text: -text.get_position()[1])
    assert [text.get_text() for text in from_the_top] == list(LEVELS)
    linear = draw_parallel(trials, "placement", (), METRIC).axes[0].get_lines()
    assert not np.allclose([line.get_ydata()[1] for line in linear[: len(lines)]], lines[:, 1])
    assert draw_parallel(trials.assign(value=0.5), "placement", {"lr"}, METRIC) is not None


def test_seventy_names_look_different():
    seen = [tuple(look.values()) for look in looks(str(n) for n in range(70)).values()]
    assert len(set(seen)) == 70
