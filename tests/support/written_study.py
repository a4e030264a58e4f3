"""A study's folder as the program leaves it, in seconds: no network is trained, its predictions are made up.

Rows, statistics, files and their order are those of the project's own phases; only the search, which needs Ray, is
entered here.
"""

import io
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import optuna
from optuna.trial import TrialState
from rich.console import Console
from safetensors.torch import save
from scipy.special import softmax

from search.common.console import Reporter
from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.data.splits import TEST_SHARE, hold_out
from search.data.synthetic import CELL_TYPES, MICROSCOPES, draw_cell
from search.records.arguments import Arguments
from search.records.ledger import Ledger
from search.records.observers import Observers, Training
from search.records.schema import Key
from search.records.studyfolder import StudyFolder
from search.space import Profile
from search.study.comparing import compare, winner
from search.study.confirming import confirm
from search.study.context import Study
from search.study.launch import describe
from search.study.plan import Request, make_plan
from search.study.searching import trial_row
from search.study.transferring import test as score_on_test
from search.study.transferring import transfer
from search.training.types import EpochResult, EpochScore, FoldScore, Normalisation, Step
from search.tuning.optuna_journal import journal_storage
from search.tuning.pool import JobStep
from spaces.residual_placement import SPACE
from wbcmodels.config import PLACEMENTS
from wbcmodels.family import build

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
SHARES = (0.10, 0.12, 0.26, 0.14, 0.38)
# How able each placement is, in the unit of a network's logits; a few tenths drown in the noise of folds.
UNSETTLED = dict(zip(PLACEMENTS, (0.0, 0.0, 0.1, -0.1, 0.2, 0.1, 0.4, 0.1), strict=True))
SETTLED = {**UNSETTLED, "none": -1.5, "3": -1.3, "2+3": 2.0}
REFERENCE_BEST = {**dict.fromkeys(PLACEMENTS, -0.8), "none": 0.2}
TIME = {"elapsed": 2460.0, "training": 4000.0, "validation": 430.0, "preparing": 90.0, "waiting": 400.0}
SMALL = Profile(
    width=0.125, epochs=5, transfer_epochs=5, input_px=(24, 28), lr=(0.002, 0.03), trials_per_level=3,
    search_folds=3,
)  # fmt: skip
BEGAN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
COMMAND = "python -m search.run --space residual_placement --data cells --transfer-data others"


def write_study(
    folder,
    *,
    n_trials=24,
    n_images=400,
    levels=PLACEMENTS,
    reference=None,
    classes=CLASSES,
    gains=UNSETTLED,
    data=("cells", "others"),
    profile=SMALL,
    finalists=1,
    repeats=1,
    factor="placement",
    command=COMMAND,
    stop=None,
    seed=0,
):
    """Write a study of the residual placement, and give its folder.

    Args:
        levels: names of the placements, in their order; the first is the reference unless another is named.
        gains: of the placements; see UNSETTLED.
        data: names of the data set and of what is transferred to.
        stop: a phase, and after how many of its trials or trainings it is interrupted.
    """
    placement_of = dict(zip(levels, PLACEMENTS, strict=False))
    space = replace(
        SPACE,
        factor=factor,
        levels=tuple(levels),
        reference=reference or levels[0],
        configure=lambda suggest, level, profile: SPACE.configure(suggest, placement_of[level], profile),
    )
    n_target = n_images // 3
    arguments = Arguments(
        space="residual_placement", data=data[0], transfer_data=data[1], profile="quick", trials=n_trials,
        finalists=finalists, repeats=repeats, seed=seed,
    )  # fmt: skip
    request = Request(
        profile_name="quick", synthetic=False, n_images=n_images, n_target=n_target, n_trials=n_trials,
        search_folds=None, finalists=finalists, folds=10, repeats=repeats, profile=profile,
    )  # fmt: skip
    source, target = make_images(data[0], classes, n_images), make_images(data[1], classes, n_target)
    plan = make_plan(space, request)
    session = SimpleNamespace(arguments=arguments, space=space, plan=plan)
    # A study of a test need not survive a power cut.
    with patch("os.fsync"), patch("search.study.transferring.share", lambda weights: weights):
        opened = StudyFolder.create(folder, describe(session, source, target))
        opened.update(started=BEGAN.isoformat(), commands=[command])
        locked = hold_out(source.labels, source.groups, TEST_SHARE, derive_seed(seed, "test set"))
        reporter = Reporter(Console(file=io.StringIO()), plan.cost)
        study = Study(
            arguments=arguments, space=space, plan=plan, source=source, target=target,
            development=locked.train, locked=locked.val, folder=opened, ledger=Ledger(folder), cluster=None,
            reporter=reporter,
            workers=MadeUp((source, target), gains, stop), photograph=lambda name: draw(source, name),
            observers=Observers((), reporter.note),
        )  # fmt: skip
        with suppress(KeyboardInterrupt):
            run_phases(study)
            opened.update(finished=(BEGAN + timedelta(minutes=41)).isoformat())
        study.ledger.close()
        opened.update(time=TIME)
    return folder


def run_phases(study):
    phases = {
        "search": lambda: search(study),
        "confirm": lambda: confirm(study),
        "compare": lambda: compare(study),
        "test": lambda: score_on_test(study, winner(study)),
        "transfer": lambda: transfer(study, winner(study), study.target),
    }
    for phase in study.plan.phases:
        study.workers.enter(phase.name)
        phases[phase.name]()
        study.ledger.flush()
        study.folder.finish(phase.name)


def search(study):
    """Trials of every level by Optuna's random sampler; each eleventh fails, each fifth falls behind."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = journal_storage(study.folder.optuna_journal)
    space, profile = study.space, study.plan.profile
    splits = study.partition(study.source, study.development, "search", study.plan.search_folds)
    of_level = {}
    for number in range(study.plan.n_trials):
        level = space.levels[number % len(space.levels)]
        if level not in of_level:
            sampler = optuna.samplers.RandomSampler(seed=study.seed)
            of_level[level] = optuna.create_study(
                storage=storage, study_name=f"level {level}", sampler=sampler, direction="maximize"
            )
            for point in space.first_points(level, profile):
                of_level[level].enqueue_trial(point)
        asked = of_level[level].ask()
        configuration = space.configure(asked, level, profile)
        state = "FAIL" if number % 11 == 10 else "PRUNED" if number % 5 == 4 else "COMPLETE"
        key = Key(phase="search", number=number, level=level, data=study.source.source, seed=study.seed)
        done = splits[: {"FAIL": 0, "PRUNED": 1, "COMPLETE": len(splits)}[state]]
        training = Training(
            key=key, title="", params=asked.params, n_train=0, epochs=configuration.training.epochs,
            validation=tuple(split.val for split in splits),
        )  # fmt: skip
        labels, probabilities, train_s = [], [], 0.0
        for fold, split in enumerate(done):
            task = SimpleNamespace(
                configuration=configuration, train=split.train, val=split.val, way="scratch",
                seed=derive_seed(study.seed, "search", number, fold), validate_once=False, keep_weights=False,
            )  # fmt: skip
            *_, last = steps = list(study.workers.steps(task, study.source, penalty=0.8 * (state == "PRUNED")))
            for step in steps:
                study.recorder.step(training, replace(step, fold=fold))
            labels.append(study.source.labels[split.val])
            probabilities.append(last.score.probabilities)
            train_s += last.score.train_s
        pooled = score(np.concatenate(labels), np.concatenate(probabilities)) if done else None
        value = None if pooled is None else getattr(pooled, study.metric)
        of_level[level].tell(asked, value if state == "COMPLETE" else None, state=TrialState[state])
        started = BEGAN + timedelta(seconds=10 * number)
        trial = SimpleNamespace(
            number=number, params=asked.params, started=started, epochs=profile.epochs * len(done),
            folds_done=len(done), pooled=pooled, configuration=configuration, train_s=train_s,
        )  # fmt: skip
        ended = SimpleNamespace(
            trial=trial, state=state, value=value, completed=started + timedelta(seconds=train_s + 1),
            error="OutOfMemoryError: the training needs more memory than there is" if state == "FAIL" else None,
        )  # fmt: skip
        row = trial_row(ended, len(splits[0].train), len(study.source.classes))
        study.ledger.add_row("trials", asdict(key), row)
        study.workers.count()


@dataclass
class MadeUp:
    """Stands where workers train: what they give back is drawn from a network's ability and an image's nature."""

    images: tuple[ImageSet, ...]
    gains: dict[str, float]
    stop: tuple[str, int] | None
    phase: str = ""
    done: int = 0

    def __post_init__(self):
        # What makes an image hard is the same for all networks, so that they mistake the same ones.
        self.nature = {
            images.source: np.random.default_rng(len(images.labels)).normal(
                0, 1.1, (len(images.labels), len(images.classes))
            )
            for images in self.images
        }

    def enter(self, phase):
        self.phase, self.done = phase, 0
        self.check()

    def count(self):
        self.done += 1
        self.check()

    def check(self):
        if self.stop == (self.phase, self.done):
            raise KeyboardInterrupt

    def run(self, jobs, shared, *, title, begin, tick):
        for index, job in enumerate(jobs):
            begin(index)
            images = next(images for images in self.images if images.source == job.data)
            for step in self.steps(job.task, images):
                yield JobStep(index=index, step=step)
            self.count()

    def latencies(self, models):
        return [0.5 + 0.4 * len(model.residual_stages) for model in models]

    def steps(self, task, images, penalty=0.0):
        """The epochs of a training, the last with its score."""
        training = task.configuration.training
        model = replace(task.configuration.model, n_classes=len(images.classes))
        rng = np.random.default_rng([task.seed, *str(model).encode()])
        labels = images.labels[task.val]
        logits = self.nature[images.source][task.val] + rng.normal(0, 0.8, (len(labels), len(images.classes)))
        logits[np.arange(len(labels)), labels] += self.ability(task) - penalty
        probabilities = softmax(1.5 * logits, axis=1)
        metrics = score(labels, probabilities) if len(labels) else None
        for epoch in range(1, training.epochs + 1):
            left = np.exp(-3.5 * epoch / training.epochs) - np.exp(-3.5)
            seen = None
            if metrics and (epoch == training.epochs or not task.validate_once):
                drop = 0.5 * left * rng.uniform(0.9, 1.1)
                shares = {name: value * (1 - drop) for name, value in asdict(metrics).items()}
                seen = replace(metrics, **{**shares, "log_loss": metrics.log_loss + 2 * drop})
            reached = metrics.accuracy if metrics else 0.95
            result = EpochResult(
                epoch=epoch, lr=training.lr * (1 - (epoch - 1) / training.epochs),
                train_loss=0.1 + 1.5 * left * rng.uniform(0.9, 1.1),
                train_accuracy=min(1.0, reached * (1 - 0.5 * left) + 0.02), train_s=1.5, data_s=0.03,
            )  # fmt: skip
            last = epoch == training.epochs
            yield Step(
                epoch=EpochScore(training=result, validation=seen, val_s=0.1),
                score=FoldScore(
                    n_train=len(task.train), n_val=len(labels), metrics=metrics, probabilities=probabilities,
                    normalisation=Normalisation(mean=(200.0, 180.0, 200.0), std=(30.0, 40.0, 20.0)),
                    train_s=1.5 * training.epochs,
                    weights=save(build(model, seed=0).state_dict()) if task.keep_weights else None,
                ) if last else None,
            )  # fmt: skip

    def ability(self, task):
        """How far a network lifts the true class above the others."""
        model, training = task.configuration.model, task.configuration.training
        paper = training.schedule == "constant"
        found = 3.5 if paper else 4.0 + self.gains[model.placement] - 0.4 * np.log10(training.lr / 0.012) ** 2
        found -= {"batch": 0.0, "group": 0.2, "none": 0.5}[model.norm]
        return found + {"scratch": 0.0, "frozen": -1.2, "fine_tuned": 0.4}[task.way]


def make_images(source, classes, n_images):
    """Images known by name and label; nobody asks for their pixels here."""
    shares = np.resize(SHARES, len(classes))
    counts = np.maximum(2, np.round(n_images * shares / shares.sum())).astype(int)
    counts[-1] += n_images - counts.sum()
    return ImageSet(
        source=source,
        classes=tuple(classes),
        names=tuple(f"{name}/{k:04d}.png" for name, n in zip(classes, counts, strict=True) for k in range(n)),
        labels=np.repeat(np.arange(len(classes)), counts),
        pixels={},
        fingerprint=sha256(repr((source, classes, n_images)).encode()).hexdigest(),
    )


def draw(images, name):
    """The image of this name, one of the cells that the program draws, small."""
    index = images.names.index(name)
    kind = list(CELL_TYPES.values())[images.labels[index] % len(CELL_TYPES)]
    return draw_cell(np.random.default_rng(index), kind, MICROSCOPES["first"])[12:60, 12:60]
