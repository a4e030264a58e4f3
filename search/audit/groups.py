"""The groups file of an audit: what no split may separate."""

import csv
import io

from search.audit.audit import Audit


def groups_text(audit: Audit) -> str:
    """Groups of an audited data set as CSV, `file_name,group`.

    Images that show the same share a group, and so do the images of a given group; groups that share an image or a
    picture are one. Damaged images keep their given group.

    Args:
        audit: of one data set.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("file_name", "group"))
    writer.writerows(zip(audit.photos.names, audit.same.merged.tolist(), strict=True))
    return lines.getvalue()
