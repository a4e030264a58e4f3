"""Pattern of Optuna's PyTorch example: the loop inside the objective, one process, torch's own threads."""

import optuna

from benchmarks.patterns.dataloader import train
from benchmarks.patterns.workload import HIGHEST_DROPOUT, HIGHEST_LR, LOWEST_LR, Workload


def run(workload: Workload) -> None:
    """Run the points one after another."""
    workload.say_slots(1)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    for point in workload.points:
        study.enqueue_trial(vars(point))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", LOWEST_LR, HIGHEST_LR, log=True)
        trial.suggest_float("dropout", 0.0, HIGHEST_DROPOUT)
        accuracy = 0.0
        for epoch, accuracy in enumerate(train(workload, trial.number, num_workers=0)):
            trial.report(accuracy, epoch)
        return accuracy

    study.optimize(objective, n_trials=len(workload.points))
