"""The page as one file: its style and script are put into it, and nothing else may run in it. Called by server.py."""

import base64
import hashlib
from importlib.resources import files

_STYLES = ("page.css",)
_SCRIPTS = ("record.js", "draw.js", "page.js")


def page() -> tuple[bytes, str]:
    """The page, and its Content-Security-Policy: what is in the page, and requests to where it is from."""
    folder = files(__package__)
    style, script = (
        "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names) for names in (_STYLES, _SCRIPTS)
    )
    text = folder.joinpath("page.html").read_text(encoding="utf-8")
    text = text.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)} 'self'; connect-src 'self'; "
        "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


def recorder() -> bytes:
    """The script that runs beside the page: a browser takes it by its address alone (AudioWorklet.addModule)."""
    return files(__package__).joinpath("recorder.js").read_bytes()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
