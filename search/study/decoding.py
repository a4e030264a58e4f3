"""The images of a study, decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rich.markup import escape

from search.audit.quick import quick_findings
from search.common.console import reading_progress
from search.data.imageset import ImageSet, Source
from search.study.configurations import input_sides
from search.study.session import Session


@dataclass(frozen=True, kw_only=True)
class StudyImages:
    """The images of every data set, see `search.study.context.Study`."""

    source: ImageSet
    target: ImageSet | None
    shifts: tuple[ImageSet, ...]
    reports: tuple[ImageSet, ...]

    @property
    def roles(self) -> Iterator[tuple[ImageSet, str]]:
        """Every data set with its role in the study."""
        yield self.source, "source"
        if self.target is not None:
            yield self.target, "target"
        yield from ((data, "shift") for data in self.shifts)
        yield from ((data, "report") for data in self.reports)

    def renamed(self, rename: Callable[[ImageSet, str], ImageSet]) -> "StudyImages":
        """The same with other names, which depend on the images and their role."""
        return StudyImages(
            source=rename(self.source, "source"),
            target=None if self.target is None else rename(self.target, "target"),
            shifts=tuple(rename(data, "shift") for data in self.shifts),
            reports=tuple(rename(data, "report") for data in self.reports),
        )


def decode_images(session: Session) -> StudyImages:
    """Decode all images, and print what is odd about them."""
    sides = input_sides(session.space, session.plan.profile)
    skip_bad = session.arguments.skip_bad
    opened = [*filter(None, (session.source, session.target)), *session.shifts, *session.reports]
    with reading_progress(session.console, sum(len(source.listing.names) for source in opened)) as on_read:

        def decode(opened: Source) -> ImageSet:
            return opened.decode(sides, skip_bad=skip_bad, on_read=on_read)

        source = decode(session.source)
        target, taken = None, {source.source}
        if session.target is not None:
            target = _named_apart(decode(session.target), "target", taken)
        shifts, reports = (
            tuple(_named_apart(decode(laboratory), role, taken) for laboratory in laboratories)
            for role, laboratories in (("shift", session.shifts), ("report", session.reports))
        )
    for images in filter(None, (source, target)):
        for line in quick_findings(images):
            session.console.print(f"[yellow]note[/yellow]  {escape(f'{images.source}: {line}')}")
    return StudyImages(source=source, target=target, shifts=shifts, reports=reports)


def _named_apart(images: ImageSet, role: str, taken: set[str]) -> ImageSet:
    """The images under a name of their own: tables and workers tell data sets apart by name."""
    name, number = images.source, 1
    while name in taken:
        name, number = f"{images.source}-{role}{'' if number == 1 else number}", number + 1
    taken.add(name)
    return images if name == images.source else replace(images, source=name)
