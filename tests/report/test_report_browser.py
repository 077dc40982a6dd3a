"""The page of a run in a browser, on a desk, in a hand and on paper."""

import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_browser
from run_folder import HOSTILE, write_run

from steps.make_report import make_report

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    """Of a run with hostile names, a long word in its settings, and a wide table."""
    exp = write_run(folder)
    with (exp / "settings.conf").open("a") as file:
        file.write(f"corpus-conf={HOSTILE}\nnetwork={'long' * 60}.yaml\n")
    (exp / "analysis").mkdir()
    wide = " | ".join(["column of a table"] * 12)
    (exp / "analysis" / "eval_b9.plda.md").write_text(f"| {wide} |\n| {' | '.join(['---'] * 12)} |\n| {wide} |\n")
    make_report(exp)
    return exp / "report.html"


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    program = find_browser()
    if not program:
        pytest.skip("no chromium, chromium-browser or google-chrome here")
    with Browser(program, folder / "profile", seconds=240) as opened:
        yield opened
    shutil.rmtree(folder / "profile", ignore_errors=True)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_opens_without_complaint_request_or_overflow(
    browser: Browser, page: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.open(page, width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    browser.evaluate("document.querySelectorAll('img').forEach(picture => { picture.loading = 'eager' })")
    browser.evaluate(
        "Promise.all([...document.images].map(picture => picture.decode()))"
    )  # fails if one cannot be shown
    assert browser.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert browser.evaluate("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.partition("(")[2].partition(",")[0]) < 64) == dark
    browser.screenshot(tmp_path / "page.png")
    picture = (tmp_path / "page.png").read_bytes()
    assert picture[1:4] == b"PNG" and struct.unpack(">I", picture[16:20])[0] in (width, width - 15)  # less a scroll bar


def test_probes_of_this_test_see_what_they_look_for(browser: Browser, tmp_path: Path) -> None:
    """A page with all that must not be: each is found."""
    bad = tmp_path / "bad.html"
    body = "<img src='missing.png'><div style='width:3000px'>x</div><script>console.error('e')</script>"
    bad.write_text(f"<meta charset=utf-8>{body}")
    browser.open(bad, 390)
    assert browser.requests() == [bad.as_uri(), (tmp_path / "missing.png").as_uri()]
    assert browser.complaints()
    assert not browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_click_on_a_head_sorts_by_number(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    column = "[...document.querySelectorAll('#list-eval_b9 tbody tr')].map(row => row.cells[1].innerText).slice(0, 3)"
    head = "document.querySelector('#list-eval_b9 thead th:nth-child(2)')"
    rates = [float(re.findall(r"\d+\.\d+", text)[0]) for text in browser.evaluate(column)]
    assert rates == sorted(rates) and rates[0] < rates[-1]
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    again = [float(re.findall(r"\d+\.\d+", text)[0]) for text in browser.evaluate(column)]
    assert again == rates[::-1]


def test_paper_shows_what_is_folded_away(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    closed = "document.querySelectorAll('main details:not([open])').length"
    before = browser.evaluate(closed)
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert before > 0 and browser.evaluate(closed) == 0
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(closed) == before
    assert len(browser.call("Page.printToPDF")["data"]) > 50_000
    browser.open(page, 720, media="print")  # A4 less its margins
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert browser.evaluate(boxes) == 0, "paper does not scroll"
