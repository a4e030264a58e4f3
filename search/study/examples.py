"""A few of a study's images, kept in its folder: what the winner got wrong, and an example of each class."""

import base64
import io

import pandas as pd
import pyarrow as pa
from PIL import Image

from search.common.errors import InputError
from search.data.decode import resize_square
from search.records.schema import KEY_COLUMNS
from search.study.context import Study

MOST_MISTAKES = 24
MOST_TEST_MISTAKES = 5
MOST_PX = 128


def keep_cells(study: Study, winner: str) -> None:
    """Keep the images that a report shows, as the table `cells`; one that cannot be read any more is left out."""
    predictions, rows = study.ledger.read("predictions"), []
    numbers = pa.array(choose_cells(predictions.to_pandas(), winner), pa.int64())
    for chosen in predictions.select([*KEY_COLUMNS, "image"]).take(numbers).to_pylist():
        try:
            photograph = study.photograph(str(chosen["image"]))
        except InputError as error:
            study.reporter.note(f"not shown in the report: {error}")
            continue
        square = resize_square(photograph, min(*photograph.shape[:2], MOST_PX))
        png = io.BytesIO()
        Image.fromarray(square).save(png, "png", optimize=True)
        rows.append({**chosen, "png": base64.b64encode(png.getvalue()).decode()})
    study.ledger.replace("cells", rows)


def choose_cells(predictions: pd.DataFrame, winner: str) -> list[int]:
    """Choose the images to show: the surest mistakes, and of each class the image most surely recognised.

    Args:
        predictions: the predictions table, its rows numbered from 0.
        winner: whose, at its tuned settings; of several repeats of the comparison the first.
    Returns:
        Numbers of rows, the surest first: up to MOST_MISTAKES of the phase compare, then of the phase test, whose
        images the kept network has never seen, up to MOST_TEST_MISTAKES and one of each class.
    """
    own = predictions[(predictions["level"] == winner) & (predictions["settings"] == "tuned")]
    sureness = own[[name for name in own.columns if name.startswith("probability_")]].max(axis=1)
    own = own.assign(sureness=sureness).sort_values(["sureness", "image"], ascending=[False, True])
    right = own["label"] == own["predicted"]
    compared, tested = own["phase"] == "compare", own["phase"] == "test"
    first = own["repeat"] == own.loc[compared, "repeat"].min()
    chosen = [
        own[compared & first & ~right].head(MOST_MISTAKES),
        own[tested & ~right].head(MOST_TEST_MISTAKES),
        own[tested & right].drop_duplicates("label"),
    ]
    return [int(number) for rows in chosen for number in rows.index]
