"""The command that classifies images with a study's winner: `python -m search.predict`."""

from pathlib import Path
from typing import Literal

from rich.markup import escape

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.reading import Reading, parse_class_names
from search.predict.output import check_format, write
from search.records.mirror.home import local_copy

app = make_app("search.predict")


@app.default
def main(
    study: str,
    images: list[Path] | None = None,
    /,
    *,
    output: Path | None = None,
    sort: Literal["given", "doubt"] = "given",
    labels: Path | None = None,
    layout: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: str | None = None,
    skip_bad: bool = False,
    trust: bool = False,
) -> None:
    """Print or write the predicted class of every image, and the probability of each class.

    Args:
        study: Folder of a study, or its address.
        images: Image files, or folders of them; none where --labels is a folder.
        output: File to write, .csv, .parquet, .jsonl or .ndjson; by default a table is printed.
        sort: Order of the images: as given, or by doubt, the least certain first.
        labels: True classes to score against: a folder with a folder per class, or of another layout that a study
            takes, or a table that names the images, such as labels.csv.
        layout: What each level of the folder in --labels is, such as split/class; by default found.
        image_column: Column of the table that names the images.
        label_column: Column of the table that holds the labels.
        class_names: Class names by label, such as 1=neutrophil,2=lymphocyte.
        skip_bad: Leave out images that cannot be read, and name them.
        trust: Run the Python file in the study's folder that defines its network, without asking.
    """
    if output is not None:
        check_format(output)
    # With SciPy and Pillow, for which --help need not wait.
    from search.predict.classify import classify, load
    from search.predict.images import given_images, labelled_images
    from search.predict.terminal import counts_table, predictions_table, print_notes, print_scores

    console = make_console()
    model = load(local_copy(study, only="model/") / "model", trusted=trust)
    if labels is None:
        asked = given_images(images or [])
    else:
        names = None if class_names is None else parse_class_names(class_names)
        reading = Reading(layout=layout, image_column=image_column, label_column=label_column, class_names=names)
        asked = labelled_images(labels, images or [], reading, model.classes)
    found = classify(console, model, asked, skip_bad=skip_bad)
    if sort == "doubt":
        found = found.by_doubt()
    if output is not None:
        write(output, found)
        console.print(f"{len(found.names)} images  {escape(str(output))}", soft_wrap=True)
    else:
        console.print(predictions_table(found, console.width))
    console.print(counts_table(found))
    if found.labels is not None:
        print_scores(console, found)
    print_notes(console, model, found)


if __name__ == "__main__":
    run_app(app)
