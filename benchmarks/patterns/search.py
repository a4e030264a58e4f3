"""Search of the project as its command starts it, with journals, tables, checkpoints and the speed probe."""

from benchmarks.patterns.points import SPACE_FILE
from benchmarks.patterns.workload import Workload
from search.records.arguments import Arguments, Resources
from search.study.announce import print_estimate, print_plan
from search.study.session import open_session


def run(workload: Workload) -> None:
    """Search the points of the workload."""
    space = workload.folder / "points.py"
    space.write_text(SPACE_FILE)
    arguments = Arguments(
        space=str(space),
        transfer_data="none",
        profile="quick",
        trials=len(workload.points),
        sampler="random",
        pruner="none",
        metric="accuracy",
    )
    with open_session(arguments, Resources(gpus_per_trial=0.0)) as session:
        workload.say_slots(session.cluster.slots)
        print_plan(session, None)
        images = workload.images()
        print_estimate(session)
        # Imported late, as in the command, so that its workers need not wait for Ray Tune.
        from benchmarks.patterns.one_split import search_one_split

        search_one_split(session, workload, images)
