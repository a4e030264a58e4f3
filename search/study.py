"""A study's phases: search -> compare -> test -> transfer. Each goes on where an earlier run of it stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from search.arguments import Arguments
from search.choose import best_trials, equal_settings
from search.console import Reporter
from search.data.imageset import ImageSet
from search.data.splits import Split, stratified_folds
from search.errors import StudyFailedError
from search.metrics import METRIC_NAMES
from search.modelfiles import TrainedModel, save_model
from search.plan import PAPER_LEVELS, Plan, image_cost, level_configuration, training_cost
from search.records import FoldRecorder, trial_row
from search.report.comparison import compare_settings
from search.seeds import derive_seed
from search.space import Configuration, Params, Space
from search.studyfolder import StudyFolder
from search.tables import Key, Ledger
from search.trial import Images, Task, TrialStep, Way
from search.tuning.book import EndedTrial, TrialBook
from search.tuning.cluster import Cluster
from search.tuning.jobs import Job, measure_latencies, run_jobs, share
from search.tuning.tune import run_search
