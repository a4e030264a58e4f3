"""How an exported file is used, for its model card."""

from search.export.formats import OPSET, Kind
from search.report.card import Use
from search.training.trainedmodel import TrainedModel

_ONNX = """\
ONNX, opset {opset}. The file takes images of any size, uint8 RGB of shape (n, height, width, 3), and does the
rest: crop, scaling to {side} px, normalisation, network and temperature. Class names are in its metadata.

```python
import json
import numpy, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{file}")
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
image = numpy.asarray(Image.open("cell.png").convert("RGB"))
(probabilities,) = session.run(["probabilities"], {{"images": image[None]}})
print(classes[probabilities[0].argmax()], probabilities[0])
```"""

_TORCH = """\
A program of `torch.export`. It takes images that are already cropped and scaled to {side} px, uint8 RGB of shape
(n, {side}, {side}, 3), and gives probabilities.

```python
import json
import numpy, torch
from PIL import Image

facts = {{"classes": ""}}
program = torch.export.load("{file}", extra_files=facts).module()
image = Image.open("cell.png").convert("RGB")
short = min(image.size)
left, top = ((length - short) // 2 for length in image.size)
square = image.crop((left, top, left + short, top + short)).resize(({side}, {side}), Image.Resampling.BILINEAR)
probabilities = program(torch.from_numpy(numpy.array(square))[None])[0]
print(json.loads(facts["classes"])[probabilities.argmax()], probabilities)
```"""

_SAFETENSORS = """\
Weights, with `config.json` in the file's header: it says how to build the network, how its input is normalised,
and which classes its outputs are. With wbc-search installed, this makes a folder of it:

```python
from pathlib import Path
from search.export.formats import unpack

unpack(Path("{file}"), Path("cells/model"))
```

and `python -m search.predict cells cell.png` classifies images with it."""

_TEXTS: dict[Kind, tuple[str, str]] = {
    "onnx": ("onnx", _ONNX),
    "torch": ("pytorch", _TORCH),
    "safetensors": ("wbc-search", _SAFETENSORS),
}


def usage(kind: Kind, file: str, model: TrainedModel) -> Use:
    """How to use an exported file of this name."""
    library, text = _TEXTS[kind]
    return Use(library=library, text=text.format(file=file, side=model.config.input_px, opset=OPSET))
