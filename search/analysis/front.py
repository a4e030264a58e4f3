"""The levels worth paying for: each dearer one is shown to be better than the one before."""

from collections.abc import Mapping, Sequence

from search.analysis.outcome import Outcome
from search.analysis.recommendation import Recommendation
from search.analysis.verdict import Finding


def front_above_noise(
    macs: Mapping[str, float], advice: Recommendation, main: Sequence[Finding], reference: str
) -> tuple[str, ...]:
    """The front of score and cost that ignores gains below the noise.

    A gain counts where the study judges it: the interval of the difference excludes zero, or the cheaper level is
    ruled out and the dearer one is not. The study judges differences to the reference; others count only through
    what is ruled out.

    Args:
        macs: cost of each level.
        main: contrasts of the family that decides.
    Returns:
        By rising cost; the first is the cheapest level, the last the recommended one or a cheaper one.
    """
    outcomes = {finding.level: finding.outcome for finding in main if finding.level is not None}

    def is_shown(cheaper: str, dearer: str) -> bool:
        ruled_out = cheaper in advice.beaten and (dearer not in advice.beaten or advice.beaten[cheaper] == dearer)
        over_reference = cheaper == reference and outcomes.get(dearer) == Outcome.BETTER
        under_reference = dearer == reference and outcomes.get(cheaper) == Outcome.WORSE
        return ruled_out or over_reference or under_reference

    first, *others = sorted(macs, key=lambda level: macs[level])
    front = [first]
    for level in others:
        if is_shown(front[-1], level):
            front.append(level)
    return tuple(front)
