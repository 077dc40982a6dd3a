"""Files and fields of a request as browsers and curl -F send them (multipart/form-data, RFC 7578)."""

import re
from dataclasses import dataclass, field

from timbre.serve.guard import Refused

_MOST_PARTS = 40
_LONGEST_NAME = 200  # characters of a field or of the name of a file
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([\w\'()+,./:=?-]{1,70}))', re.I)
_PARAMETER = re.compile(r'(name|filename)="((?:[^"\\\r\n]|\\.)*)"')


@dataclass
class Form:
    """files: (name of the file, bytes) by field; fields: text by field."""

    files: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def clips(self, name: str, most: int = 1) -> list[tuple[str, bytes]]:
        """1 to MOST files of the field NAME; Refused where there are not so many."""
        found = self.files.get(name, [])
        if not found:
            raise Refused(400, f"a recording is missing: the field '{name}'")
        if len(found) > most:
            raise Refused(400, f"{len(found)} recordings in the field '{name}'; at most {most}")
        return found


def parse_form(content_type: str, body: bytes) -> Form:
    """What is in BODY.

    Raises:
        Refused: it is something else, or has too many parts or too long names
    """
    found = _BOUNDARY.match(content_type)
    if not found:
        raise Refused(415, "a form with files is wanted (multipart/form-data)")
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Refused(400, "the form is cut off")
    if len(parts) > _MOST_PARTS + 2:
        raise Refused(400, f"more than {_MOST_PARTS} parts in the form")
    form = Form()
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or len(head) > 4096:
            raise Refused(400, "the form is damaged")
        named = {key: _text(value) for key, value in _PARAMETER.findall(head.decode("utf-8", "replace"))}
        name = named.get("name", "")
        if not name or max(map(len, named.values())) > _LONGEST_NAME:
            raise Refused(400, f"the name of a field or file is missing, or longer than {_LONGEST_NAME} characters")
        if "filename" in named:
            form.files.setdefault(name, []).append((named["filename"] or name, content))
        elif len(content) > 10_000:
            raise Refused(400, f"the field '{name}' is longer than 10000 bytes")
        else:
            form.fields[name] = content.decode("utf-8", "replace")
    return form


def _text(value: str) -> str:
    """The last part of a path, without what cannot be printed."""
    plain = value.replace("%22", '"').replace('\\"', '"').replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in plain if one.isprintable())
