"""HTML that is safe by construction: what is not Html already is escaped. Used by the sections of page.py."""

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from timbre.utils.errors import DataError

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_EMPTY = {"img", "meta", "hr", "br"}  # elements without an end tag
_INLINE = re.compile(
    r"\*\*(?P<strong>.+?)\*\*|\*(?P<em>.+?)\*|`(?P<code>[^`]+)`|!?\[(?P<text>[^\]]*)\]\([^)\s]*\)|(?P<br><br>)"
)
_PATH, _FINE = re.compile(r'\sd="[^"]*"'), re.compile(r"(\.\d\d)\d+")  # curves of an SVG, and what is too fine in them
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_REFERENCE = re.compile(r"&#(\d{2,3});")
_BARRED = re.compile(r"(?<!\\)\|")  # between the cells of a table


class Html(str):
    """Text that is HTML; any other str is text that may hold anything."""


class Cell(Html):
    """A cell of a table, whole."""


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Html:
    """The element NAME; CHILDREN and values of ATTRIBUTES are escaped unless they are Html.

    class_ is the attribute class, aria_sort is aria-sort; True is an attribute without a value, False and None none.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{html.escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Html(start if name in _EMPTY else f"{start}{join(children)}</{name}>")


def join(parts: Sequence[str], between: str = "") -> Html:
    """PARTS one after the other, escaped unless they are Html."""
    return Html(between.join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def cell(text: str, sort: float | None = None, header: bool = False, class_: str | None = None) -> Cell:
    """A cell of a table; SORT is the number it is sorted by, HEADER: the head of its row."""
    key = None if sort is None else f"{sort:.10g}"
    if header:
        return Cell(tag("th", text, scope="row", class_=class_, data_sort=key))
    return Cell(tag("td", text, class_=class_, data_sort=key))


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], sortable: bool = True) -> Html:
    """A table that scrolls in a box of its own where it is too wide.

    Args:
        caption: what it shows; read out, and printed above it
        columns: heads of the columns
        rows: cells, as `cell` makes them, or texts, the first of which is then the head of its row
        sortable: whether a click on a head sorts it
    """
    heads = [tag("th", tag("button", name, type="button") if sortable else name, scope="col") for name in columns]
    lines = [
        tag(
            "tr", *(part if isinstance(part, Cell) else cell(part, header=place == 0) for place, part in enumerate(row))
        )
        for row in rows
    ]
    body = tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *lines)
    inner = tag("table", *body, class_="sortable" if sortable else None)
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def image(path: Path, alt: str) -> Html:
    """The picture PATH, .png or .svg, inside the page itself, made small.

    Raises:
        DataError: it cannot be read as what its name says
    """
    data = _small_svg(path) if path.suffix == ".svg" else _small_png(path)
    text = base64.b64encode(data).decode()
    return tag("img", src=f"data:{_TYPES[path.suffix]};base64,{text}", alt=alt, loading="lazy", decoding="async")


def _small_svg(path: Path) -> bytes:
    """A drawing with its curves to the hundredth of a point."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", path) from error
    return _PATH.sub(lambda curve: _FINE.sub(r"\1", curve[0]), text).encode()


def _small_png(path: Path) -> bytes:
    """Pixels in 128 colours, if that is smaller: plots have few."""
    from PIL import Image, UnidentifiedImageError

    data, smaller = path.read_bytes(), io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError("not a PNG picture, or cut short", path) from error
    return min(data, smaller.getvalue(), key=len)


def figure(picture: Html, caption: str, class_: str = "") -> Html:
    """A picture and what it shows."""
    return tag("figure", tag("div", picture, class_="picture"), tag("figcaption", caption), class_=class_ or None)


def details(summary: str, *children: str, open_: bool = False) -> Html:
    """Something that is folded away until it is asked for."""
    return tag("details", tag("summary", summary), *children, open=open_)


def markdown(text: str, level: int = 3) -> Html:
    """What this project writes as Markdown: heads, tables, lists, code blocks, paragraphs; pictures are left out.

    level: of the element that a # becomes
    """
    parts: list[Html] = []
    heading = "Table"
    for place, span in enumerate(re.split(r"^```.*\n?", text, flags=re.MULTILINE)):
        if place % 2:  # between two fences
            parts.append(tag("pre", span.rstrip("\n"), tabindex=0))
            continue
        for block in re.split(r"\n\s*\n", span.strip("\n")):
            lines = block.splitlines()
            if match := re.fullmatch(r"(#+) +(.*)", lines[0]) if lines else None:
                heading = _plain(match[2])
                parts.append(tag(f"h{min(level + len(match[1]) - 1, 6)}", inline(match[2])))
                lines = lines[1:]
            if lines and not all(_PICTURE.fullmatch(line.strip()) for line in lines):
                parts.append(_block(lines, heading))
    return join(parts)


def _block(lines: list[str], heading: str) -> Html:
    """A table, list, indented code or paragraph."""
    if len(lines) > 1 and lines[0].startswith("|") and re.fullmatch(r"[|:\- ]+", lines[1]):
        heads, *rows = ([inline(part.strip()) for part in _cells(line)] for line in lines[:1] + lines[2:])
        return table(heading, heads, [[_sorted_cell(part, i == 0) for i, part in enumerate(row)] for row in rows])
    if lines[0].startswith("- ") and all(line.startswith(("- ", "  ")) for line in lines):
        items = re.split(r"\n(?=- )", "\n".join(lines))
        return tag("ul", *(tag("li", inline(item[2:])) for item in items))
    if lines[0].startswith("    "):
        return tag("pre", "\n".join(lines), tabindex=0)
    return tag("p", inline(" ".join(lines)))


def inline(text: str) -> Html:
    """Bold, italic, code and <br> of a line of Markdown; of a link, its text."""
    parts: list[str] = []
    place = 0
    for match in _INLINE.finditer(text):
        parts.append(_plain(text[place : match.start()]))
        kind = match.lastgroup or "text"
        inner = match[kind] if kind == "code" else _plain(match[kind])
        parts.append(inner if kind == "text" else tag(kind, "" if kind == "br" else inner))
        place = match.end()
    return join([*parts, _plain(text[place:])])


def _plain(text: str) -> str:
    """TEXT with the characters that escape.py wrote as references; it is escaped again where it becomes HTML."""
    return _REFERENCE.sub(lambda found: chr(int(found[1])), text)


def _cells(line: str) -> list[str]:
    return [part.replace("\\|", "|") for part in _BARRED.split(line.strip())[1:-1]]


def _sorted_cell(text: Html, header: bool) -> Cell:
    number = re.match(r"[+-]?[\d,]*\.?\d+(e[+-]?\d+)?", re.sub(r"<[^>]*>", "", text))
    return cell(text, float(number[0].replace(",", "")) if number else None, header)
