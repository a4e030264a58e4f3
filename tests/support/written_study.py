"""A study's folder, made up in a second: no network is trained and no phase of the program runs.

Only the choice of settings and the analysis are the program's own. A network's predictions depend on its ability
and on how hard an image is; all networks find the same images hard.
"""

import base64
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from zlib import crc32

import numpy as np
import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from safetensors.torch import save
from scipy.special import softmax

from search.analysis.levels import Question, analyse, analyse_transfer
from search.analysis.pooling import score_columns
from search.analysis.selection import kept_settings, kept_trials, setting_params
from search.analysis.untouched import untouched_columns
from search.common.metrics import METRIC_NAMES, score
from search.records.arguments import Arguments
from search.records.description import DataSet, Description, Environment, Plan, PlannedPhase
from search.records.ledger import Ledger
from search.records.schema import TABLES
from search.space import CONTROL_LEVEL, Profile
from search.study.examples import choose_examples
from search.training.trainedmodel import TrainedModel, save_model
from search.training.types import Normalisation
from spaces.residual_placement import SPACE
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.network import model_size

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
SHARES = (0.10, 0.12, 0.26, 0.14, 0.38)
# Ability of each placement, in units of logits; a few tenths drown in the noise of folds.
UNSETTLED = dict(zip(PLACEMENTS, (0.0, 0.0, 0.1, -0.1, 0.2, 0.1, 0.4, 0.1), strict=True))
SETTLED = {**UNSETTLED, "none": -1.5, "3": -1.3, "2+3": 2.0}
REFERENCE_BEST = {**dict.fromkeys(PLACEMENTS, -0.8), "none": 0.2}
METRIC, FOLDS, SEARCH_FOLDS, EPOCHS = "balanced_accuracy", 10, 3, 5
WAYS = {"scratch": 0.0, "frozen": -1.2, "fine_tuned": 0.4}
UNTOUCHED = {"untouched": -1.6, "untouched_adapted": -1.1}
SMALL = Profile(
    width=0.125, epochs=EPOCHS, transfer_epochs=EPOCHS, input_px=(24, 28), lr=(0.0003, 0.003), optimizer="adamw",
    trials_per_level=3, search_folds=SEARCH_FOLDS,
)  # fmt: skip
BEGAN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
COMMAND = "python -m search.run --space residual_placement --data cells --transfer-data others"
PAPER = {
    "paper_plain": ModelConfig(placement="none", norm="none", dropout=0.0, input_px=28, width=0.125),
    "paper_wbcsnet2": ModelConfig(placement="1", norm="batch", dropout=0.5, input_px=28, width=0.125),
}

# What a study may be like, as options of `write_study`.
KINDS = {
    "open": {"gains": UNSETTLED},
    "settled": {"gains": SETTLED},
    "reference": {"gains": REFERENCE_BEST},
    "control": {"control": True},
    "own": {"own": True},
    "collapse": {"collapse": "3"},
    "few": {"n_folds": 2, "n_trials": 16},
    "one setting": {"n_trials": 8},
    "one level": {"levels": ("none",), "n_trials": 3},
    "plain": {"levels": ("all",), "factor": None, "reference": "paper_plain", "n_trials": 3},
}


def write_study(
    folder, *, n_trials=24, n_images=400, levels=PLACEMENTS, reference=None, classes=CLASSES, gains=UNSETTLED,
    data=("cells", "others"), factor="placement", own=False, control=False, n_runs=2, n_folds=FOLDS, collapse=None,
    command=COMMAND, stop=None,
):  # fmt: skip
    """Write a study of the residual placement, and give its folder.

    Args:
        n_trials: over all levels.
        levels: names of the placements, in their order; the first is the reference unless another is named.
        gains: of the placements; see UNSETTLED.
        data: names of source and target.
        own: every level has its own settings.
        collapse: a level that predicts one class alone at the second setting of the comparison.
        stop: a phase, and the number of its trials or trainings after which it is interrupted.
    """
    folder.mkdir(parents=True)
    study = MadeUp(folder, data, classes, n_images, dict(zip(levels, PLACEMENTS, strict=False)), gains, stop)
    study.reference, study.shares_settings = reference or levels[0], factor is not None and not own
    study.control, study.n_runs, study.n_folds, study.collapse = control, n_runs, n_folds, collapse
    stages = {f"block at stage {s}": tuple(n for n, p in study.placement_of.items() if s in p) for s in "123"}
    study.effects = {name: having for name, having in stages.items() if factor and 0 < len(having) < len(levels)}
    phases = {
        "search": lambda: study.search(n_trials),
        "compare": study.compare,
        "test": study.test,
        "transfer": study.transfer,
    }
    done = []
    with suppress(Interrupted):
        for phase, run in phases.items():
            study.enter(phase)
            run()
            done.append(phase)
    trainings = (
        *(n_trials * SEARCH_FOLDS, n_folds * (n_runs * (len(levels) + control) + len(PAPER))),
        *(1, 9 * n_folds),
    )
    planned = zip(phases, trainings, strict=True)
    description = Description(
        arguments=Arguments(
            space="residual_placement", data=data[0], transfer_data=data[1], profile="quick", trials=n_trials
        ),
        question=SPACE.question,
        factor=factor,
        levels=tuple(levels),
        reference=study.reference,
        effects=study.effects,
        plan=Plan(
            profile_name="quick", profile=SMALL, n_trials=n_trials, search_folds=SEARCH_FOLDS,
            shares_settings=study.shares_settings, compare_settings=2, control=control, folds=n_folds, repeats=1,
            most_runs=n_runs, looks=(n_runs,),
            phases=tuple(PlannedPhase(name=n, trainings=k, epochs=k * EPOCHS, cost=1.0) for n, k in planned),
        ),
        origin={"space": "5face" * 8, "code": "c0de" * 8},
        data={images.name: images.described() for images in (study.source, study.target)},
        started=BEGAN.isoformat(),
        phases_done=tuple(done),
        environment=Environment(python="3.11", platform="Linux", versions={"torch": "2.15.0"}, commit="abc"),
        finished=(BEGAN + timedelta(minutes=41)).isoformat() if len(done) == len(phases) else None,
        commands=(command,),
        looked_at=(n_runs,) if "compare" in done else (),
        recommendation=study.recommendation and asdict(study.recommendation),
        winner=study.chosen(),
        test=study.test_score,
        time={"elapsed": 2460.0, "training": 4000.0, "validation": 430.0, "preparing": 90.0, "waiting": 400.0},
    )  # fmt: skip
    (folder / "study.json").write_text(json.dumps(asdict(description)), encoding="utf-8")
    with patch("os.fsync"):  # a study of a test need not survive a power cut
        ledger = Ledger(folder)
        for name, rows in study.rows.items():
            ledger.replace(name, rows)
        ledger.close()
    return folder


class Interrupted(Exception):
    """Here the study stops."""


class Images:
    """Images known by name and label, each class with its own hardness."""

    def __init__(self, name, classes, n_images):
        shares = np.resize(SHARES, len(classes))
        counts = np.maximum(2, np.round(n_images * shares / shares.sum())).astype(int)
        counts[-1] += n_images - counts.sum()
        self.name, self.classes = name, tuple(classes)
        self.names = [f"{label}/{k:04d}.png" for label, n in zip(classes, counts, strict=True) for k in range(n)]
        self.labels = np.repeat(np.arange(len(classes)), counts)
        self.hardness = np.random.default_rng(n_images).normal(0, 1.1, (n_images, len(classes)))

    def partition(self, among, n_folds, seed):
        """The images of each fold, every class spread evenly."""
        order = np.random.default_rng(seed).permutation(among)
        order = order[np.argsort(self.labels[order], kind="stable")]
        return [np.sort(order[fold::n_folds]) for fold in range(n_folds)]

    def described(self):
        counts = np.bincount(self.labels).tolist()
        return DataSet(
            fingerprint=f"{crc32(repr((self.name, counts)).encode()):08x}",
            n_images=len(self.labels),
            classes=dict(zip(self.classes, counts, strict=True)),
        )


@dataclass(frozen=True)
class Network:
    """A level at a setting; without ability it predicts one class alone."""

    level: str
    setting: int | None
    params: Mapping
    model: ModelConfig
    ability: float | None


class MadeUp:
    """The phases of a made-up study, each adding to the rows of the tables."""

    winner = test_score = recommendation = None

    def __init__(self, folder, data, classes, n_images, placement_of, gains, stop):
        self.folder, self.placement_of, self.gains, self.stop = folder, placement_of, gains, stop
        self.source, self.target = Images(data[0], classes, n_images), Images(data[1], classes, n_images // 3)
        self.locked, *rest = self.source.partition(np.arange(n_images), 5, seed=0)
        self.development = np.concatenate(rest)
        self.rows = {name: [] for name in TABLES}

    def enter(self, phase):
        self.phase, self.done = phase, 0
        self.check()

    def count(self):
        self.done += 1
        self.check()

    def check(self):
        if self.stop == (self.phase, self.done):
            raise Interrupted

    def search(self, n_trials):
        """Random settings, of one level or of all; each third is pruned, and one of its trials fails."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(self.folder / "optuna.journal")))
        sampler, levels = optuna.samplers.RandomSampler(seed=0), list(self.placement_of)
        search = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
        folds = self.source.partition(self.development, SEARCH_FOLDS, seed=1)
        params = SPACE.first_points("none", SMALL)[0]
        for number in range(n_trials):
            setting, place = divmod(number, len(levels))
            if setting == 0 or (self.shares_settings and place):
                search.enqueue_trial(params)
            asked = search.ask()
            network = self.network(levels[place], setting if self.shares_settings else None, asked)
            params = asked.params
            state = "COMPLETE" if setting % 3 < 2 else "PRUNED" if place != 1 else "FAIL"
            n_done = {"FAIL": 0, "PRUNED": 1, "COMPLETE": SEARCH_FOLDS}[state]
            key = {**self.key(network), "number": number}
            for fold in range(n_done):
                self.train({**key, "repeat": 0, "fold": fold}, network, self.source, folds[fold], number)
            scores = pd.DataFrame(self.rows["folds"][-n_done:] if n_done else []).get([*METRIC_NAMES])
            means = {} if scores is None else scores.mean().to_dict()
            value = means.get(METRIC)
            search.tell(asked, value if state == "COMPLETE" else None, state=optuna.trial.TrialState[state])
            started, spent_s = BEGAN + timedelta(seconds=10 * number), 1.5 * EPOCHS * n_done
            self.rows["trials"].append({
                **key, **{f"params_{name}": value for name, value in asked.params.items()}, **means,
                **model_size(network.model, len(self.source.classes))._asdict(), "trial_id": f"trial-{number:04d}",
                "state": state, "value": value, "datetime_start": started,
                "datetime_complete": started + timedelta(seconds=spent_s + 1), "duration_s": spent_s + 1,
                "epochs": EPOCHS * n_done, "folds_done": n_done, "train_s": spent_s, "images_per_s": 100.0,
                "error": "OutOfMemoryError: the training needs more memory" if state == "FAIL" else None,
            })  # fmt: skip
            self.count()

    def compare(self):
        """All levels in every run, and the paper's networks in the first."""
        networks = self.kept()
        paper = [
            Network(level, None, {}, model, 3.5 - 0.5 * (model.norm == "none")) for level, model in PAPER.items()
        ]
        settings = list(dict.fromkeys(network.setting for network in networks))
        for repeat in range(self.n_runs):
            folds = self.source.partition(self.development, self.n_folds, seed=2 + repeat)
            of_run = [n for n in networks if n.setting == settings[repeat % len(settings)]]
            for fold, val in enumerate(folds):
                for network in (*of_run, *(paper if repeat == 0 else ())):
                    self.train(
                        {**self.key(network), "repeat": repeat, "fold": fold}, network, self.source, val, fold
                    )
                    self.count()
        question = Question(
            levels=tuple(self.placement_of), reference=self.reference, effects=self.effects, metric=METRIC,
            margin=0.01, classes=self.source.classes, looks=(self.n_runs,),
        )  # fmt: skip
        folds, predictions = (
            pd.DataFrame([row for row in self.rows[name] if row["phase"] == "compare"])
            for name in ("folds", "predictions")
        )
        macs = {(n.level, n.setting): model_size(n.model, len(self.source.classes)).macs for n in networks}
        found = analyse(predictions, question, macs)
        self.add_effects(found.rows, self.source)
        self.recommendation = found.recommendation
        rows = {
            (n.level, n.setting): self.row(n, self.source, folds, predictions) for n in (*networks, *paper)
        }  # fmt: skip
        for key, value in found.estimates.items():
            rows[key]["estimate_shrunken"] = value
        self.rows["comparison"] += rows.values()
        for level in dict.fromkeys(network.level for network in networks):
            whole = Network(level, None, {}, *next((n.model, n.ability) for n in networks if n.level == level))
            best = max((row for row in rows.values() if row["level"] == level), key=lambda row: row[METRIC])
            row = self.row(whole, self.source, folds, predictions)
            self.rows["comparison"].append({**row, "best_setting": best["setting"], "best_value": best[METRIC]})
        self.winner = next(network for network in networks if (network.level, network.setting) == found.best)
        self.travelling, self.compared = [self.winner, *paper], [*networks, *paper]

    def kept(self):
        """The levels at the settings that are compared, the best of the search."""
        trials = [
            {"confirmed_value": None, **trial, "params": {
                name.removeprefix("params_"): value for name, value in trial.items() if name.startswith("params_")
            }}
            for trial in self.rows["trials"]
        ]  # fmt: skip
        if self.shares_settings:
            kept = {setting: setting_params(trials, setting) for setting in kept_settings(trials, 2)}
        else:
            best = kept_trials(trials, 2)
            kept = {
                rank: {level: own[rank]["params"] for level, own in best.items() if rank < len(own)}
                for rank in range(2)
            }
        networks = []
        for nth, (setting, params_of) in enumerate(kept.items()):
            if self.control:
                params_of = {**params_of, CONTROL_LEVEL: params_of[self.reference]}
            for level, params in params_of.items():
                network = self.network(level, setting, optuna.trial.FixedTrial(params))
                collapsed = nth == 1 and level == self.collapse
                networks.append(replace(network, ability=None if collapsed else network.ability))
        return networks

    def chosen(self):
        """The winner's entry of the description."""
        winner = self.winner
        return winner and {"level": winner.level, "setting": winner.setting, **winner.params}

    def test(self):
        """The winner on the locked images, its weights, and example images."""
        self.train(self.key(self.winner), self.winner, self.source, self.locked, 0)
        self.test_score = {name: self.rows["folds"][-1][name] for name in METRIC_NAMES}
        model = TrainedModel(
            config=self.winner.model,
            normalisation=Normalisation(mean=(200.0, 180.0, 200.0), std=(30.0, 40.0, 20.0)),
            classes=self.source.classes,
            weights=save(self.winner.model.build(len(self.source.classes), seed=0).state_dict()),
        )
        save_model(self.folder / "model", model, {"level": self.winner.level})
        predictions = pd.DataFrame(self.rows["predictions"])
        for number in choose_examples(predictions, self.winner.level, self.winner.setting):
            row = self.rows["predictions"][number]
            key = {name: value for name, value in row.items() if not name.startswith(("prob", "label", "pred"))}
            self.rows["cells"].append({**key, "png": picture(row["image"])})
        self.count()

    def transfer(self):
        """The winner and the paper's networks on the target, each way, after all networks as they are."""
        self.untouched()
        for fold, val in enumerate(self.target.partition(np.arange(len(self.target.labels)), FOLDS, seed=3)):
            for network in self.travelling:
                for way in WAYS:
                    key = {**self.key(network, self.target), "way": way, "repeat": 0, "fold": fold}
                    self.train(key, network, self.target, val, fold)
                    self.count()
        folds, predictions = (
            pd.DataFrame([row for row in self.rows[name] if row["phase"] == "transfer"])
            for name in ("folds", "predictions")
        )
        self.rows["transfer"] += [
            self.row(network, self.target, *(rows[rows["way"] == way] for rows in (folds, predictions)), way)
            for network in self.travelling
            for way in WAYS
        ]
        question = Question(
            levels=(), reference="", metric=METRIC, margin=0.01, classes=self.target.classes
        )  # fmt: skip
        self.add_effects(analyse_transfer(predictions, question), self.target)

    def untouched(self):
        """The networks of the comparison, and the winner's twice, on the target as they are."""
        trained = {
            (row["level"], row["setting"], row["repeat"], row["fold"]) for row in self.of("folds", "compare")
        }
        networks = {(network.level, network.setting): network for network in self.compared}
        everything, before = np.arange(len(self.target.labels)), len(self.rows["epochs"])
        self.phase = "untouched"
        keys = [
            {"level": level, "setting": setting, "way": "untouched", "repeat": repeat, "fold": fold}
            for level, setting, repeat, fold in sorted(trained, key=repr)
        ]
        saved = {"level": self.winner.level, "setting": self.winner.setting, "repeat": None, "fold": None}
        keys += [{**saved, "way": way} for way in ("untouched", "untouched_adapted")]
        for number, key in enumerate(keys):
            network = networks[key["level"], key["setting"]]
            self.train({**self.key(network, self.target), **key}, network, self.target, everything, number)
        del self.rows["epochs"][before:]  # nothing is trained
        predictions = pd.DataFrame(self.of("predictions", "untouched"))
        compared = predictions["repeat"].notna()
        parts = [
            ({"level": level, "way": "untouched"}, own)
            for level, own in predictions[compared].groupby("level", sort=False)
        ]
        parts += [
            ({"level": self.winner.level, "setting": self.winner.setting, "way": way}, own)
            for way, own in predictions[~compared].groupby("way", sort=False)
        ]
        for key, own in parts:
            columns = untouched_columns(own, self.source.classes, overlap=1 / (self.n_folds - 1))
            self.rows["transfer"].append({"phase": "untouched", "data": self.target.name, **key, **columns})
        self.phase = "transfer"

    def of(self, table, phase):
        """The rows of a phase."""
        return [row for row in self.rows[table] if row["phase"] == phase]

    def network(self, level, setting, suggest):
        """A level at parameters that are suggested."""
        placement = self.placement_of[self.reference if level == CONTROL_LEVEL else level]
        chosen = SPACE.configure(suggest, placement, SMALL)
        ability = 4.0 + self.gains[placement] - 0.4 * np.log10(chosen.training.lr / 0.012) ** 2
        ability -= {"batch": 0.0, "group": 0.2, "none": 0.5}[chosen.model.norm]
        return Network(level, setting, dict(suggest.params), chosen.model, ability)

    def key(self, network, images=None):
        data = (images or self.source).name
        return {"phase": self.phase, "level": network.level, "setting": network.setting, "data": data, "seed": 7}

    def train(self, key, network, images, val, seed):
        """Add the epochs, the fold and the predictions of one training."""
        rng = np.random.default_rng([seed, crc32(repr((*asdict(network.model).values(), *key.values())).encode())])
        labels, names = images.labels[val], images.classes
        logits = images.hardness[val] + rng.normal(0, 0.8, (len(val), len(names)))
        if network.ability is None:
            logits = 0.1 * logits + 5 * np.eye(len(names))[-1]
        else:
            logits[np.arange(len(val)), labels] += network.ability + (WAYS | UNTOUCHED)[key.get("way", "scratch")]
        probabilities = softmax(1.5 * logits, axis=1).round(7)
        metrics = asdict(score(labels, probabilities))
        for epoch in range(1, EPOCHS + 1):
            left = np.exp(-3.5 * epoch / EPOCHS) - np.exp(-3.5)
            reached = 1 - 0.5 * left * rng.uniform(0.9, 1.1)
            seen = {f"val_{name}": metrics[name] * reached for name in ("accuracy", METRIC, "macro_f1")}
            self.rows["epochs"].append({
                **key, **seen, "epoch": epoch, "lr": 0.01 * (1 - (epoch - 1) / EPOCHS),
                "train_loss": 0.1 + 1.5 * left * rng.uniform(0.9, 1.1), "val_loss": metrics["log_loss"] + left,
                "train_accuracy": min(1.0, metrics["accuracy"] * (1 - 0.5 * left) + 0.02),
                "train_s": 1.5, "data_s": 0.03, "val_s": 0.1,
            })  # fmt: skip
        n_train = (len(self.development) if images is self.source else len(images.labels)) - len(val)
        self.rows["folds"].append(
            {**key, **metrics, "n_train": n_train, "n_val": len(val), "train_s": 1.5 * EPOCHS}
        )
        self.rows["predictions"] += [
            {
                **key,
                "image": images.names[image],
                "label": names[label],
                "predicted": names[int(shares.argmax())],
                **{f"probability_{name}": share for name, share in zip(names, shares.tolist(), strict=True)},
            }
            for image, label, shares in zip(val, labels, probabilities, strict=True)
        ]

    def add_effects(self, rows, images):
        self.rows["effects"] += [{"phase": self.phase, "data": images.name, **row} for row in rows]

    def row(self, network, images, folds, predictions, way=None):
        """A network's row of a table; without a setting, over all that it has."""
        own = (rows[rows["level"] == network.level] for rows in (folds, predictions))
        if network.setting is not None:
            own = (rows[rows["setting"] == network.setting] for rows in own)
        key = {name: value for name, value in self.key(network, images).items() if name != "seed"} | {"way": way}
        params = {f"params_{name}": value for name, value in network.params.items()}
        size = model_size(network.model, len(images.classes))
        latency_ms = 0.5 + 0.4 * len(network.model.residual_stages)
        return {**key, **params, **score_columns(*own, images.classes), **size._asdict(), "latency_ms": latency_ms}


def picture(name):
    """Noise of one kind a name, as the ledger takes a PNG."""
    png = io.BytesIO()
    pixels = np.random.default_rng(crc32(name.encode())).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(png, "png")
    return base64.b64encode(png.getvalue()).decode()
