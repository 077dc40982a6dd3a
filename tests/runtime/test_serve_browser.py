"""The page in headless Chromium, whose microphone hears a file: verify, enrol, identify, live, diarize, keys, widths.

TIMBRE_SCREENSHOTS=FOLDER keeps pictures to look at.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.runtime.hum_voice import serving
from tests.runtime.made_people import RATE, conversation, hum
from timbre.serve.limits import Limits

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of made people; the microphone's is a conversation with ann, heard over and over."""
    path = tmp_path_factory.mktemp("sounds")
    for name, person in (("ann", 0), ("bob", 1)):
        for number in (1, 2):
            soundfile.write(path / f"{name}{number}.wav", hum(person, 3, number), RATE)
    soundfile.write(path / "meeting.flac", conversation([(0, 4.0), (2, 4.0), (1, 3.0), (0, 3.0)])[0], RATE)
    heard = conversation([(0, 3.5), (3, 3.5)])[0]
    soundfile.write(path / "microphone.wav", np.clip(heard, -1, 1), RATE, subtype="PCM_16")
    (path / "broken.wav").write_bytes(b"nothing")
    return path


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Any]:
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}",
    ]
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Limits(rate=1000, burst=10_000)) as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page; whatever it complains of is a fault."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: said.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else None,
    )
    page.goto(address)
    wait(page, "document.getElementById('pack').textContent !== ''")
    yield page
    context.close()
    assert [text for text in said if "422" not in text] == []


def wait(page: Any, script: str) -> None:
    """Until SCRIPT is true. The page forbids what Page.wait_for_function does: to evaluate a string."""
    for _ in range(600):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {script}")


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("TIMBRE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def put(page: Any, form: str, clip: str, *paths: Path) -> None:
    page.locator(f"#{form} [data-clip={clip}] input[type=file]").set_input_files(list(map(str, paths)))
    wait(page, f"document.querySelectorAll('#{form} [data-clip={clip}] audio').length >= {len(paths)}")


def enroll(page: Any, name: str, *paths: Path) -> None:
    page.get_by_role("tab", name="People").click()
    page.get_by_role("textbox", name="Name").fill(name)
    put(page, "enroll-form", "clip", *paths)
    page.get_by_role("button", name="Enrol", exact=True).click()
    page.wait_for_selector(f"#list .who:has-text('{name}')")


def test_verify_two_files(page: Any, folder: Path) -> None:
    put(page, "verify-form", "enroll", folder / "ann1.wav")
    put(page, "verify-form", "test", folder / "ann2.wav")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#verdict .answer")
    assert page.locator("#verdict .answer").inner_text() == "Same speaker"
    assert "3.0 s and 3.0 s" in page.locator("#verdict dl").inner_text()
    assert page.locator("#verdict svg").count() == 2
    keep(page, "verify_same")
    put(page, "verify-form", "test", folder / "bob1.wav")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#verdict .answer.different")
    keep(page, "verify_different")


def test_record_and_verify(page: Any, folder: Path) -> None:
    put(page, "verify-form", "enroll", folder / "ann1.wav")
    page.get_by_role("button", name="Record: Second recording").click()
    page.wait_for_selector("#verify-form [data-clip=test] .record[aria-pressed=true]")
    page.wait_for_timeout(2500)
    keep(page, "verify_recording")
    page.get_by_role("button", name="Record: Second recording").click()
    page.wait_for_selector("#verify-form [data-clip=test] audio")
    assert float(page.locator("#verify-form [data-clip=test] .what").inner_text().split(" s")[0]) > 1.5
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#verdict .answer")


def test_what_is_wrong_is_told(page: Any, folder: Path) -> None:
    page.get_by_role("button", name="Compare").click()
    assert page.get_by_role("alert").inner_text() == "First recording: record it, or choose a file"
    put(page, "verify-form", "enroll", folder / "ann1.wav")
    put(page, "verify-form", "test", folder / "broken.wav")
    page.get_by_role("button", name="Compare").click()
    wait(page, "document.getElementById('problem').textContent.includes('not an audio file')")
    assert page.get_by_role("alert").inner_text().startswith("broken.wav: ")
    keep(page, "problem")


def test_enrol_identify_rename_remove(page: Any, folder: Path) -> None:
    enroll(page, "Ann <b>", folder / "ann1.wav", folder / "ann2.wav")
    enroll(page, "Bob", folder / "bob1.wav")
    keep(page, "people")
    page.get_by_role("tab", name="Identify").click()
    put(page, "identify-form", "clip", folder / "bob2.wav")
    page.locator("#identify-form button.main").click()
    page.wait_for_selector("#identified .answer")
    assert page.locator("#identified .answer").inner_text() == "Bob"
    keep(page, "identify")
    page.get_by_role("tab", name="People").click()
    page.once("dialog", lambda dialog: dialog.accept("Robert"))
    page.get_by_role("button", name="Rename Bob").click()
    page.wait_for_selector("#list .who:has-text('Robert')")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export the gallery").click()
    assert download.value.suggested_filename == "people.zip"
    for name in ("Ann <b>", "Robert"):
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name=f"Remove {name}").click()
        wait(page, f"!document.getElementById('list').textContent.includes('{name}')")
    assert page.locator("#list").inner_text() == "Nobody is enrolled yet."


def test_live_captions(page: Any, folder: Path) -> None:
    enroll(page, "Ann", folder / "ann1.wav", folder / "ann2.wav")
    page.get_by_role("tab", name="Live").click()
    page.get_by_label("Latency").select_option("1")
    page.get_by_role("button", name="Listen").click()
    wait(page, "new Set([...document.querySelectorAll('#captions .name')].map(o => o.textContent)).size > 1")
    page.wait_for_timeout(1500)
    keep(page, "live")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#listen[aria-pressed=false]")
    wait(page, "document.getElementById('now').textContent === ''")
    heard = set(page.locator("#captions .name").all_inner_texts())
    assert "Ann" in heard and any(name.startswith("unknown") for name in heard)


def test_diarize_a_file(page: Any, folder: Path) -> None:
    page.get_by_role("tab", name="Diarize").click()
    put(page, "meeting-form", "clip", folder / "meeting.flac")
    page.locator("#meeting-form button.main").click()
    page.wait_for_selector("#timeline svg")
    assert page.locator("#timeline .answer").inner_text() == "3 speakers"
    assert page.locator("#timeline svg rect").count() == 4
    page.locator("#timeline summary").click()
    keep(page, "diarize")


def test_by_keyboard_alone(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    for key, wanted in (("ArrowRight", "identify"), ("End", "about"), ("ArrowRight", "verify"), ("ArrowLeft", "about")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.getAttribute('aria-controls')") == wanted
        assert page.locator(f"#{wanted}").is_visible()
    keep(page, "about")


def test_everything_has_a_name(page: Any) -> None:
    """What a screen reader says: no button, field or picture without words; labels are of fields that exist."""
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, meter, audio, svg, a')].filter((one) =>
        !(one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label')?.textContent.trim())
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    for name in ("aria-controls", "aria-labelledby"):
        assert set(
            page.evaluate(f"[...document.querySelectorAll('[{name}]')].map((o) => o.getAttribute('{name}'))")
        ) <= set(ids)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(page: Any, folder: Path, scheme: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=scheme)
    put(page, "verify-form", "enroll", folder / "ann1.wav")
    put(page, "verify-form", "test", folder / "bob2.wav")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#verdict .answer")
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab.inner_text()
        keep(page, f"phone_{scheme}_{tab.inner_text().lower()}")
    small = page.evaluate(
        """[...document.querySelectorAll('button, .file, input:not([type=checkbox])')].filter((one) =>
        one.offsetParent && one.getBoundingClientRect().height < 40).length"""
    )
    assert small == 0, "fingers need room"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out(page: Any, scheme: str) -> None:
    """WCAG AA: a contrast of 4.5 between words and what they stand on."""
    page.emulate_media(color_scheme=scheme)
    colors = page.evaluate(
        """(() => { const style = getComputedStyle(document.documentElement); return Object.fromEntries(
        ['back', 'card', 'text', 'soft', 'main', 'on-main', 'good', 'bad', 'unsure'].map((name) =>
        [name, style.getPropertyValue('--' + name).trim()])); })()"""
    )

    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(2 * one for one in color[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    pairs = [(name, back) for name in ("text", "soft", "main", "good", "bad", "unsure") for back in ("back", "card")]
    for name, back in [*pairs, ("on-main", "main"), ("card", "bad")]:
        dark, light = sorted((luminance(colors[name]), luminance(colors[back])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, back)
