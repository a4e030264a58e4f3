"""Example images that a study keeps to show: the winner's mistakes, and what it recognises."""

import base64
import io
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from PIL import Image

from search.common.errors import InputError
from search.data.decode import resize_square
from search.records.schema import KEY_COLUMNS, Phase

if TYPE_CHECKING:  # which imports Ray
    from search.study.context import Study

MOST_MISTAKES = 24
MOST_TEST_MISTAKES = 5
MOST_RECOGNISED = 20
MOST_PX = 128


def keep_examples(study: "Study", winner: str, setting: int) -> None:
    """Write the example images to the table `cells`; an image that can no longer be read is left out."""
    read, rows = partial(study.ledger.read, "predictions", level=winner), []
    predictions = pa.concat_tables([read(phase=Phase.COMPARE), read(phase=Phase.TEST)])
    numbers = pa.array(choose_examples(predictions.to_pandas(), winner, setting), pa.int64())
    for chosen in predictions.select([*KEY_COLUMNS, "image"]).take(numbers).to_pylist():
        try:
            photograph = study.photograph(str(chosen["image"]))
        except InputError as error:
            study.reporter.note(f"left out of the report's example images: {error}")
            continue
        square = resize_square(photograph, min(*photograph.shape[:2], MOST_PX))
        png = io.BytesIO()
        Image.fromarray(square).save(png, "png", optimize=True)
        rows.append({**chosen, "png": base64.b64encode(png.getvalue()).decode()})
    study.ledger.replace("cells", rows)


def choose_examples(predictions: pd.DataFrame, winner: str, setting: int) -> list[int]:
    """Choose example images: the most confident mistakes, and right predictions of most classes.

    Args:
        predictions: the predictions table, its rows numbered from 0.
        winner, setting: whose predictions are used, in the comparison those of the first repeat.
    Returns:
        Row numbers, most confident first: up to MOST_MISTAKES of the compare phase; then of the test phase, whose
        images the saved network has never seen, up to MOST_TEST_MISTAKES, and the most confident right prediction
        of each class, for the MOST_RECOGNISED classes where it is most confident.
    """
    own = predictions[(predictions["level"] == winner) & (predictions["setting"] == setting)]
    confidence = own[[name for name in own.columns if name.startswith("probability_")]].max(axis=1)
    own = own.assign(confidence=confidence).sort_values(["confidence", "image"], ascending=[False, True])
    right = own["label"] == own["predicted"]
    compared, tested = own["phase"] == Phase.COMPARE, own["phase"] == Phase.TEST
    first = own["repeat"] == own.loc[compared, "repeat"].min()
    chosen = [
        own[compared & first & ~right].head(MOST_MISTAKES),
        own[tested & ~right].head(MOST_TEST_MISTAKES),
        own[tested & right].drop_duplicates("label").head(MOST_RECOGNISED),
    ]
    return [int(number) for rows in chosen for number in rows.index]
