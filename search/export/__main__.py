"""The command that writes a study's network to one file: `python -m search.export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.common.commandline import make_app, run_app
from search.common.console import make_console, print_header
from search.records.mirror.home import local_copy

if TYPE_CHECKING:
    from search.export.export import Exported

app = make_app("search.export")


@app.default
def main(study: str, /, *, to: Literal["onnx", "torch", "safetensors"], output: Path, trust: bool = False) -> None:
    """Write a study's network to one file that works without the study, check it, and write its model card.

    Args:
        study: Folder of a study, or its address.
        to: onnx takes images of any size and needs no torch; torch is a program of torch.export; safetensors holds
            the weights and how to build the network.
        output: File to write, which must not exist: .onnx, .pt2 or .safetensors. The model card is beside it, .md.
        trust: Run the Python file in the study's folder that defines its network.
    """
    from search.export.export import export  # with torch, for which --help need not wait

    exported = export(local_copy(study), to, output, trusted=trust)
    print_header(make_console(), str(exported.file), list(_facts(exported)))


def _facts(exported: "Exported") -> list[tuple[str, str]]:
    images, agreement = exported.images, exported.agreement
    stand_in = "" if images.missing is None else f", because the images of the study are not at {images.missing}"
    facts = [
        ("size", f"{exported.file.stat().st_size / 1e6:.2f} MB"),
        ("checked on", f"{len(images.photos)} images of {images.data}{stand_in}"),
        ("differs", f"by at most {agreement.from_network:.1g} of a probability from the network"),
    ]
    if agreement.in_bf16 is not None:
        text = (
            f"in bfloat16, in which this machine predicts, the network itself differs by {agreement.in_bf16:.1g}"
        )
        facts.append(("", text))
    return [*facts, ("model card", str(exported.card))]


if __name__ == "__main__":
    run_app(app)
