"""Writing of pack files: checksums, and a zip that is the same bytes for the same content. pack_file.py reads it."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.runtime.pack_file import SETTINGS
from timbre.runtime.whole_file import whole_file

_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that the same pack is the same bytes


def seal(settings: dict[str, Any], members: Mapping[str, bytes]) -> None:
    """Puts the checksums of MEMBERS into SETTINGS."""
    settings["files"] = {one: hashlib.sha256(content).hexdigest() for one, content in sorted(members.items())}


def settings_text(settings: Mapping[str, Any]) -> bytes:
    """pack.json."""
    return (json.dumps(settings, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_zip(out: Path, settings: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Writes OUT, a .timbre file, whole or not at all; DataError where it cannot be written."""
    with whole_file(out) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, content in {SETTINGS: settings_text(settings), **dict(sorted(members.items()))}.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            stored = name.endswith((".onnx", ".npz"))  # weights do not become smaller, and are read sooner
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            file.writestr(entry, content)
