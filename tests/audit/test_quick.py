import dataclasses

import numpy as np
from drawn_cells import KINDS, draw_cells, drawn_cell

from search.audit.quick import quick_findings
from search.data.folder import open_folder


def test_different_images_say_nothing(tmp_path):
    assert quick_findings(open_folder(draw_cells(tmp_path / "cells", per_class=6)).decode([16, 48])) == []


def test_a_copy_under_another_label_is_named(tmp_path):
    folder = draw_cells(tmp_path / "cells", per_class=6)
    drawn_cell(3, KINDS[0]).save(folder / KINDS[1] / "copy.jpg", quality=92)
    images = open_folder(folder).decode([48])
    lines = quick_findings(images)
    assert len(lines) == 2
    assert all("03.png" in line and "copy.jpg" in line for line in lines)
    together = np.arange(len(images.names))
    together[images.names.index(f"{KINDS[1]}/copy.jpg")] = images.names.index(f"{KINDS[0]}/03.png")
    assert quick_findings(dataclasses.replace(images, groups=together)) == []
