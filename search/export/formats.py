"""Trained networks as the bytes of one file: ONNX, a program of torch.export, or safetensors."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from search.common.files import write_text
from search.export.graph import Classifier, PhotoClassifier
from search.training.rebuild import SOURCE
from search.training.trainedmodel import CONFIG, WEIGHTS, TrainedModel

Kind = Literal["onnx", "torch", "safetensors"]
SUFFIXES: Mapping[Kind, str] = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}

# Opset 18 is what torch's exporter writes itself; the graph needs nothing newer.
OPSET = 18
N_EXAMPLES = 2  # torch.export takes a dimension of 1 for a constant


def to_onnx(model: TrainedModel, facts: Mapping[str, str]) -> bytes:
    """The whole way from images of any size to probabilities, as ONNX.

    Input `images`: uint8 RGB (n, height, width, 3). Outputs: `probabilities` and, before they are divided by the
    temperature, `logits`, float32 (n, n_classes).

    Args:
        facts: name -> value, for the file's metadata.
    """
    from onnx import helper

    images = _example(model.config.input_px + 1, model.config.input_px + 3)  # neither square nor of a known side
    sides = {place: torch.export.Dim(name) for place, name in enumerate(("n", "height", "width"))}
    exported = torch.onnx.export(
        PhotoClassifier(model).eval(),
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["probabilities", "logits"],
        dynamic_shapes=(sides,),
        verbose=False,
    )
    assert exported is not None  # with dynamo=True
    file = exported.model_proto
    _forget_code(file)
    helper.set_model_props(file, dict(facts))
    written: bytes = file.SerializeToString()
    return written


def to_torch(model: TrainedModel, facts: Mapping[str, str]) -> bytes:
    """A program of torch.export: uint8 (n, side, side, 3) -> probabilities, float32 (n, n_classes).

    Args:
        facts: name -> value, kept as extra files of the program.
    """
    side = model.config.input_px
    sizes = ({0: torch.export.Dim("n")},)
    with torch.no_grad():
        program = torch.export.export(_Probabilities(model).eval(), (_example(side, side),), dynamic_shapes=sizes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    written = io.BytesIO()
    torch.export.save(program, written, extra_files=dict(facts))
    return written.getvalue()


def to_safetensors(model: TrainedModel, folder: Path) -> bytes:
    """The weights, with the other files of the network's folder in the header, by their names.

    Args:
        folder: of the trained network.
    """
    from safetensors.torch import load, save

    others = (folder / name for name in (CONFIG, SOURCE))
    header = {file.name: file.read_text(encoding="utf-8") for file in others if file.exists()}
    written: bytes = save(load(model.weights), header)
    return written


def unpack(file: Path, folder: Path) -> None:
    """Make the folder of a trained network from a .safetensors file that `to_safetensors` made.

    Args:
        folder: created if needed; `search.training.trainedmodel.load_model` reads it.
    """
    from safetensors import safe_open

    folder.mkdir(parents=True, exist_ok=True)
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    for name in (CONFIG, SOURCE):
        if name in header:
            write_text(folder / name, header[name])
    (folder / WEIGHTS).write_bytes(file.read_bytes())


class _Probabilities(nn.Module):
    """A classifier without its second output."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.classifier = Classifier(model)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, side, side, 3) -> probabilities (N, n_classes)."""
        probabilities: torch.Tensor = self.classifier(images)[0]
        return probabilities


def _example(height_px: int, width_px: int) -> torch.Tensor:
    return torch.zeros(N_EXAMPLES, height_px, width_px, 3, dtype=torch.uint8)


def _forget_code(file: Any) -> None:
    """Drop what torch notes about the code behind each part of an ONNX file, with paths of this machine."""
    graph = file.graph
    for parts in ((graph,), graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for part in parts:
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
