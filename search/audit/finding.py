"""A finding of an audit: what was seen, in which images, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"  # it makes results wrong, or stops a study
    CHECK = "check"  # it may; a look at the pictures decides
    FINE = "fine"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding.

    Attributes:
        kind: its name in the table's notes and the page's addresses, such as `near_identical`.
        weight: how much it matters.
        title: what was seen, with counts.
        details: one line each, the most important first.
        advice: what to do; '' if nothing.
        images: places of images to look at side by side; images of one tuple belong together.
        noted: whether the table's notes name this finding at its images.
    """

    kind: str
    weight: Weight
    title: str
    details: tuple[str, ...] = ()
    advice: str = ""
    images: tuple[tuple[int, ...], ...] = ()
    noted: bool = True
