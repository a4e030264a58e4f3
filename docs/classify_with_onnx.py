"""Classify images with an exported network: needs numpy, Pillow and onnxruntime, and nothing of wbc-search.

python classify_with_onnx.py NETWORK.onnx IMAGE…
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

network, *images = sys.argv[1:]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])

print("image", "predicted", *classes, sep="\t")
for name in images:
    with Image.open(name) as image:
        upright = ImageOps.exif_transpose(image)
        rgb = np.asarray(upright.convert("RGB"))  # uint8, (height, width, 3), of any size
    (probabilities,) = session.run(["probabilities"], {"images": rgb[None]})
    shares = probabilities[0]
    print(name, classes[shares.argmax()], *(f"{share:.4f}" for share in shares), sep="\t")
