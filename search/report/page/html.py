"""What all pages share: their templates' environment and their content security policy."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def template_environment(folder: Path) -> Environment:
    """An environment that reads templates from a folder, escapes all values and refuses missing ones."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # and keys in the order they are given
    return environment


def page_style() -> str:
    """The style sheet of all pages."""
    return (HERE / "style.css").read_text(encoding="utf-8")


def content_policy(style: str, script: str | None = None) -> str:
    """A content security policy that allows this style, this script if there is one, and images in the file."""
    scripts = "" if script is None else f" script-src {_digest(script)};"
    return (
        f"default-src 'none'; img-src data:; style-src {_digest(style)};{scripts} "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
