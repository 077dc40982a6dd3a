"""What an ONNX file would read from elsewhere, found without parsing the rest of it. Called by pack_file.py.

Weights may lie in other files, which ONNX calls external data and names by path: a hostile one could name any file of
the machine. Packs have none, so that a walk over the few messages that could hold one decides.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1  # TensorProto.DataLocation
_DATA_LOCATION, _EXTERNAL_DATA = 14, 13  # of a TensorProto
_DEPTH = 32
# what to look into, by message: field -> message
_MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def external_location(content: bytes) -> str | None:
    """What is wrong with the ONNX file CONTENT, in words: it has external data, or is not ONNX; None: nothing."""
    try:
        if _has_external(memoryview(content), "model", 0):
            return "wants weights from other files (ONNX external data)"
    except (ValueError, IndexError):
        return "is damaged, or no ONNX file"
    return None


def _has_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEPTH:
        raise ValueError("too deep")
    inner = _MESSAGES.get(kind, {})
    for field, wire, value in _fields(message):
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value == _EXTERNAL):
                return True
        elif field in inner:
            if wire != _BYTES or not isinstance(value, memoryview):
                raise ValueError("not a message")
            if _has_external(value, inner[field], depth + 1):
                return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field, wire type, value) of each field of a message of protocol buffers."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            number, place = _varint(message, place)
            yield field, wire, number
            continue
        if wire == _BYTES:
            size, place = _varint(message, place)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + size > len(message):
            raise ValueError("cut short")
        yield field, wire, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("not a number")
