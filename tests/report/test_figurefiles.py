"""Which of a figure's files a page shows."""

import numpy as np
import pytest
from PIL import Image

from search.report.page.figurefiles import LARGEST_SVG, read_figures


def drawing(n_bytes):
    """A vector drawing of at least so many bytes."""
    return f'<svg width="72pt" height="36pt"><!--{"x" * n_bytes}--></svg>'


@pytest.mark.parametrize(
    ("name", "svg_bytes", "side_px", "shown"),
    [
        ("costs", 10, 200, "svg"),
        ("costs", LARGEST_SVG + 10, 20, "png"),
        ("costs", LARGEST_SVG + 10, 400, "svg"),
        ("attention", 10, 20, "png"),
        ("attention", 10, 400, "jpeg"),
    ],
    ids=[
        "a drawing is sharp at any size",
        "a large one gives way to a smaller image",
        "but not to a larger one",
        "photographs are shown as such",
        "and compressed",
    ],
)
def test_the_best_of_a_figures_files_is_shown(tmp_path, name, svg_bytes, side_px, shown):
    (tmp_path / f"{name}.svg").write_text(drawing(svg_bytes))
    grain = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    pixels = Image.fromarray(grain if shown != "png" else 0 * grain)
    pixels.save(tmp_path / f"{name}.png", dpi=(100, 100))
    (found,) = read_figures(tmp_path.iterdir()).values()
    assert found.uri.startswith(f"data:image/{shown}")
    size = (96, 48) if shown == "svg" else (round(0.96 * side_px),) * 2
    assert (found.width_px, found.height_px) == pytest.approx(size, abs=1)
