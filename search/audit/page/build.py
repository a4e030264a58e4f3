"""The page of an audit: one HTML file that needs no other file."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from search.audit.audit import Audit
from search.audit.counts import class_counts
from search.audit.finding import Finding

HERE = Path(__file__).parent
PICTURE_PX = 112
MOST_PICTURES, MOST_TOGETHER, MOST_DETAILS = 48, 8, 30
# As base64 in the page; with the text it stays below 5 MB.
MOST_PICTURE_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image on the page: its address, its name and class, and its place."""

    address: str
    name: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A finding with its pictures, those of the same picture together, and how many images are not shown."""

    finding: Finding
    together: list[list[Picture]]
    n_hidden: int


def build_page(audit: Audit, photograph: Callable[[int], NDArray[np.uint8]]) -> str:
    """Write the page of an audit.

    Args:
        photograph: reads the readable image of a place at its full size, RGB.
    Returns:
        The text of an HTML file below 5 MB. Names are escaped, and its content security policy blocks everything
        that is not part of the file.
    """
    style = (HERE / "style.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    photos = audit.photos
    counts = class_counts(photos)
    return environment.get_template("template.html").render(
        title=", ".join(photos.sources),
        policy=_policy(style),
        style=Markup(style),  # this program's own file; everything else is escaped
        sources=photos.sources,
        counts=list(zip(photos.classes, counts.tolist(), strict=True)),
        totals=counts.sum(axis=0).tolist(),
        shown=_Album(audit, photograph).shown(),
        most_details=MOST_DETAILS,
    )


class _Album:
    """Pictures of findings, made once each, until the page is full."""

    def __init__(self, audit: Audit, photograph: Callable[[int], NDArray[np.uint8]]) -> None:
        self._audit = audit
        self._photograph = photograph
        self._left = MOST_PICTURE_BYTES

    def shown(self) -> list[Shown]:
        return [self._finding(finding) for finding in self._audit.findings]

    def _finding(self, finding: Finding) -> Shown:
        together: list[list[Picture]] = []
        n_shown = 0
        for places in finding.images:
            row: list[Picture] = []
            for place in places[:MOST_TOGETHER]:
                if n_shown < MOST_PICTURES and self._left > 0:
                    row.append(self._picture(place))
                    n_shown += 1
            if row:
                together.append(row)
        return Shown(finding=finding, together=together, n_hidden=sum(map(len, finding.images)) - n_shown)

    def _picture(self, place: int) -> Picture:
        photos = self._audit.photos
        image = Image.fromarray(self._photograph(place))
        image.thumbnail((PICTURE_PX, PICTURE_PX))
        file = BytesIO()
        image.save(file, "JPEG", quality=80)
        address = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
        self._left -= len(address)
        return Picture(address=address, name=photos.title(place), label=photos.classes[photos.labels[place]])


def _policy(style: str) -> str:
    """A content security policy that allows this style, and images in the file."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
