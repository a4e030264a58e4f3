"""The export of a study's network: one file that needs no study, checked, with a model card beside it."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from search.analysis.verdict import verdict
from search.common.errors import InputError, StudyFailedError
from search.common.files import replace_file, write_text
from search.export.check import TOLERANCE, Agreement, check
from search.export.formats import SUFFIXES, Kind, to_onnx, to_safetensors, to_torch
from search.export.images import CheckImages, check_images
from search.export.usage import usage
from search.records.description import Description
from search.records.results import read_results
from search.records.studyfolder import StudyFolder
from search.report.card import licence_of, model_card
from search.training.rebuild import UntrustedCodeError
from search.training.trainedmodel import TrainedModel, load_model

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file, its model card, and what its check showed."""

    file: Path
    card: Path
    images: CheckImages
    agreement: Agreement


def export(study: Path, kind: Kind, output: Path, *, trusted: bool = False) -> Exported:
    """Write a study's network to a file, check that file, and write its model card beside it.

    Args:
        study: folder of a study.
        output: of the kind's suffix; the card has the suffix .md.
        trusted: code in the study's folder that defines the network may run.
    Raises:
        InputError: the network cannot be exported in this way, or the file exists; names what is in the way.
        StudyFailedError: the file disagrees with the network, and is removed, or cannot be written.
    """
    card = output.with_suffix(".md")
    _check_arguments(kind, output, card)
    results = read_results(study, trusted=trusted)
    folder = StudyFolder(study, {}).model
    try:
        model = load_model(folder, trusted=trusted)
    except UntrustedCodeError as error:
        raise InputError(f"{error}; read it, and give --trust to run it") from None
    _check_model(folder, model, kind)
    facts = _facts(results.description, model)
    if kind == "safetensors":
        content = to_safetensors(model, folder)
    else:
        content = to_onnx(model, facts) if kind == "onnx" else to_torch(model, facts)
    images = check_images(results.description.arguments)
    agreements: list[Agreement] = []

    def write_checked(partial: Path) -> None:
        partial.write_bytes(content)
        agreement = check(partial, kind, model, images.photos)
        if not agreement.from_network <= TOLERANCE:  # also if it is no number
            raise StudyFailedError(
                f"{output}: not kept: its probabilities differ from the network's by up to "
                f"{agreement.from_network:.2g}, more than {TOLERANCE:g}"
            )
        agreements.append(agreement)

    replace_file(output, write_checked)
    write_text(card, model_card(results, verdict(results), model, output.stem, usage(kind, output.name, model)))
    return Exported(file=output, card=card, images=images, agreement=agreements[0])


def _check_arguments(kind: Kind, output: Path, card: Path) -> None:
    if output.suffix != SUFFIXES[kind]:
        raise InputError(f"--output {output}: a file of --to {kind} ends in {SUFFIXES[kind]}")
    for path in (output, card):
        if path.exists():
            raise InputError(f"{path}: already exists; choose another --output, or remove it")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: no folder {output.parent}; create it")
    if kind == "onnx":
        for package in PACKAGES:
            if find_spec(package) is None:
                raise InputError(f"--to onnx: {package} is not installed; run pip install 'wbc-search[export]'")


def _check_model(folder: Path, model: TrainedModel, kind: Kind) -> None:
    """Refuse what no graph can compute."""
    if not model.is_network:
        raise InputError(
            f"{folder}: {type(model.config).__name__} classifies measured features; only networks can be exported"
        )
    prepared, why = model.preparation, None
    if prepared.stain not in ("kept", "white"):
        why = f"stain {prepared.stain} is measured on all images of a laboratory together"
    elif prepared.scale != "kept":
        why = f"scale {prepared.scale} is measured on all images of a laboratory together"
    elif prepared.background != "kept":
        why = f"background {prepared.background} needs the outline of the nucleus, which no such graph can find"
    if why is not None and kind != "safetensors":
        raise InputError(f"{folder}: its images are prepared, and {why}; use --to safetensors")


def _facts(description: Description, model: TrainedModel) -> dict[str, str]:
    """What a program needs to know of the file, as text."""
    source = description.source[0]
    return {
        "classes": json.dumps(model.classes),
        "side_px": str(model.config.input_px),
        "temperature": repr(model.temperature),
        "network": type(model.config).__name__,
        "architecture": json.dumps(asdict(cast(Any, model.config))),
        "question": description.question,
        "data": source,
        "data_licence": licence_of(description, source),
        "software": f"wbc-search {version('wbc-search')}",
    }
