"""The model card of a study's saved network: Markdown with a header in YAML, as Hugging Face's hub reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import yaml

from search.analysis.statistics import wilson
from search.analysis.untouched import untouched_columns
from search.analysis.verdict import Verdict
from search.analysis.words import metric_words
from search.data.catalogue import CATALOGUE
from search.records.description import Description
from search.records.results import Results
from search.report.format import large, listed, metric_name, parameter_text, score_text, setting_name
from search.report.page.caveats import caveats
from search.training.trainedmodel import TrainedModel
from wbcmodels.network import EstimatorConfig, expected_normalisation, model_size

DRAWN = "**It was trained on drawn cells: a demonstration, which tells nothing about real blood.**"
TEST_SET = "the locked test set"


@dataclass(frozen=True, kw_only=True)
class Use:
    """How the network that a card describes is used.

    Attributes:
        library: that loads it, by the hub's names.
        text: Markdown.
    """

    library: str
    text: str


def use_of_study(study: Path) -> Use:
    """How the network is used in the study's own folder."""
    return Use(
        library="wbc-search",
        text=f"`python -m search.predict {study.resolve().name} IMAGES…` classifies images. "
        "`python -m search.export` writes the network to one file, which needs no study.",
    )


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """The network on some images, or networks like it.

    Attributes:
        values: with the columns of a metric and of its interval.
        means: what the mean and interval are over.
    """

    images: str
    data: str
    n_images: int
    values: pd.Series
    means: str


def model_card(results: Results, found: Verdict | None, model: TrainedModel, name: str, use: Use) -> str:
    """Write the card of a study's saved network.

    Args:
        found: what the study's comparison shows.
        model: the saved network, or classifier of measured features.
        name: of the network.
    """
    description, scores = results.description, list(_scores(results))
    header = yaml.safe_dump(_header(description, scores, name, use), sort_keys=False, allow_unicode=True)
    drawn = [DRAWN] if description.source[0].startswith("synthetic") else []
    parts = [
        *drawn,
        f"# {name}",
        _introduction(description, model),
        _table(("", ""), list(_facts(description, model))),
        "## Data",
        _data(description),
        "## Scores",
        *_scored(results, scores),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(results, found, model)),
        "## How to use it",
        use.text,
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(parts) + "\n"


def licence_of(description: Description, name: str) -> str:
    """The licence of one of a study's data sets; "unknown" unless it was read by the name of a published one."""
    given = description.arguments
    published = {given.data, given.target_data, *given.shifted_data, *given.reported_data} & CATALOGUE.keys()
    return CATALOGUE[name].licence if name in published else "unknown"


def _header(description: Description, scores: Sequence[_Scores], name: str, use: Use) -> dict[str, Any]:
    header: dict[str, Any] = {
        # Whoever trained it decides; the licences of its data are in the text.
        "license": "unknown",
        "library_name": use.library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "blood-cells", "microscopy", "wbc-search"],
    }
    if not scores:
        return header
    metrics = _metrics(description)
    return header | {
        "metrics": metrics,
        "model-index": [{"name": name, "results": [_result(each, metrics) for each in scores]}],
    }


def _result(scores: _Scores, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "task": {"type": "image-classification"},
        "dataset": {"name": f"{scores.data}: {scores.images}", "type": scores.data},
        "metrics": [
            {"type": metric, "name": metric_name(metric), "value": round(_value(scores.values, metric), 4)}
            for metric in metrics
        ],
    }


def _introduction(description: Description, model: TrainedModel) -> str:
    kind = "neural network" if model.is_network else "classifier of measured features"
    source = description.source[0]
    return (
        f"A {kind} that tells {len(model.classes)} classes of blood cells in the images of {source} apart: "
        f"{listed(model.classes)}. It is the winner of a study that asked: “{description.question}”"
    )


def _facts(description: Description, model: TrainedModel) -> Iterator[tuple[str, str]]:
    config, side = model.config, model.config.input_px
    size = model_size(config, len(model.classes))
    fields = asdict(cast(Any, config)).items()
    yield "architecture", f"{type(config).__name__}: " + ", ".join(f"{key} {value}" for key, value in fields)
    if description.winner is not None:
        settings = {key: value for key, value in description.winner.items() if key not in ("level", "setting")}
        yield description.factor or "network", str(description.winner["level"])
        yield "settings", ", ".join(f"{key} {parameter_text(value)}" for key, value in settings.items())
    yield "parameters", large(size.n_parameters)
    yield "multiply-adds per image", large(size.macs)
    yield "input", f"the centre square of an RGB image, scaled to {side} × {side} px"
    prepared = [f"{key} {value}" for key, value in asdict(model.preparation).items() if value != "kept"]
    if prepared:
        yield "preparation", ", ".join(prepared)
    yield "temperature", f"{model.temperature:.4g}: logits are divided by it before the softmax"
    if "wbc-search" in description.environment.versions:
        yield "made with", f"wbc-search {description.environment.versions['wbc-search']}"


def _data(description: Description) -> str:
    rows = []
    for name, images in description.data.items():
        counts = ", ".join(f"{label} {n:,}" for label, n in images.classes.items())
        use = images.role or ("source" if name == description.source[0] else "target")
        rows.append((name, _USES[use], f"{images.n_images:,}", counts, licence_of(description, name)))
    return _table(("data set", "used", "images", "of each class", "licence"), rows)


_USES = {
    "source": "to search, compare, train and test",
    "target": "as another laboratory; not trained on",
    "shift": "to choose settings by; not trained on",
    "report": "as a further laboratory; not trained on",
}


def _scores(results: Results) -> Iterator[_Scores]:
    """The saved network's scores on images that it never saw; nothing if the study has since chosen another."""
    description, tested = results.description, results.tested()
    if tested.empty:
        return
    source, classes = description.source[0], list(description.source[1].classes)
    columns = untouched_columns(tested, classes, overlap=0.0)
    right = int((tested["label"] == tested["predicted"]).sum())
    columns["accuracy_low"], columns["accuracy_high"] = wilson(right, len(tested))  # as in the report
    yield _Scores(
        images=TEST_SET,
        data=source,
        n_images=len(tested),
        values=pd.Series(columns),
        means="this network; over images",
    )
    row = results.winner_row
    yield _Scores(
        images=f"the comparison, {setting_name(description, row['setting'])}",
        data=source,
        n_images=int(row["n_images"]),
        values=row,
        means="networks like it, one for each fold",
    )
    for _, row in results.saved_untouched.query("way == 'untouched'").iterrows():
        yield _elsewhere(row, "this network; over images")
    for _, row in results.shift[results.shift["level"] == results.winner].iterrows():
        yield _elsewhere(row, f"{row['n_networks']:.0f} networks like it; over networks and images")


def _elsewhere(row: pd.Series, means: str) -> _Scores:
    data = str(row["data"])
    return _Scores(images="another laboratory", data=data, n_images=int(row["n_images"]), values=row, means=means)


def _scored(results: Results, scores: Sequence[_Scores]) -> Iterator[str]:
    if not scores:
        yield "The study holds no scores of this network."
        return
    metrics = _metrics(results.description)
    yield _table(
        ("on", "images", *(f"{metric_name(metric)} (95 %)" for metric in metrics), "of"),
        [
            (
                f"{each.images} ({each.data})",
                f"{each.n_images:,}",
                *(score_text(each.values, metric) for metric in metrics),
                each.means,
            )
            for each in scores
        ],
    )
    tested = scores[0].values
    yield (
        f"Calibration: on {TEST_SET}, the expected calibration error of the study's predictions is "
        f"{tested['calibration_error']:.3f} (in 15 bins; biased upwards for few images), the Brier score "
        f"{tested['brier']:.3f} and {metric_words('log_loss')} {tested['log_loss']:.3f}."
    )


def _limits(results: Results, found: Verdict | None, model: TrainedModel) -> Iterator[str]:
    yield "It is no medical device: nothing about it is validated for diagnosis."
    yield (
        "It knows no other classes than these: whatever an image shows, it answers with one of them, also where "
        "there is no cell."
    )
    if not isinstance(model.config, EstimatorConfig) and expected_normalisation(model.config):
        yield "Its training started from pretrained weights, which have a licence of their own."
    if found is not None:
        yield from found.warnings
    yield from caveats(results, found)


def _metrics(description: Description) -> list[str]:
    return list(dict.fromkeys(("accuracy", "balanced_accuracy", description.metric)))


def _value(values: pd.Series, metric: str) -> float:
    mean = values[f"{metric}_mean"]
    return float(values[metric] if pd.isna(mean) else mean)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
