"""The audit of data sets that have been read: all findings, and what they say of each image."""

from dataclasses import dataclass

from search.audit.counts import split_findings
from search.audit.files import file_findings
from search.audit.finding import Finding, Weight
from search.audit.looks import border_findings, outlier_findings
from search.audit.photos import Photos
from search.audit.sameness import Sameness, find_sameness, sameness_findings


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The images, which of them show the same, and the findings, the gravest first."""

    photos: Photos
    same: Sameness
    findings: tuple[Finding, ...]

    def notes(self) -> list[str]:
        """Per image, why it is damaged or else the findings that it is part of; '' where there are none."""
        kinds: list[list[str]] = [[] for _ in self.photos.names]
        for finding in self.findings:
            if finding.noted:
                for place in {place for together in finding.images for place in together}:
                    kinds[place].append(finding.kind.replace("_", " "))
        return [
            problem or ", ".join(dict.fromkeys(found))
            for problem, found in zip(self.photos.problems, kinds, strict=True)
        ]


def audit(photos: Photos, n_folds: int, *, seed: int) -> Audit:
    """Look for what makes the results of a study on these images wrong.

    Args:
        n_folds: folds that a study would ask for.
        seed: the study's.
    """
    same = find_sameness(photos)
    findings = [
        *file_findings(photos),
        *split_findings(photos, n_folds, seed=seed),
        *sameness_findings(photos, same),
        *border_findings(photos, same.merged),
        *outlier_findings(photos),
    ]
    order = list(Weight)
    return Audit(photos=photos, same=same, findings=tuple(sorted(findings, key=lambda f: order.index(f.weight))))
