"""The pictures in the docs are of the pages as they are."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from PIL import Image
from playwright.sync_api import sync_playwright
from twisted.internet.threads import deferToThread

from tests.web.pictures import PICTURES, photograph, width_of
from tests.web.test_dashboard_browser import FLAGS

DOCS = Path(__file__).parents[2] / "docs"


def photographs(places: list[tuple[str, str]]) -> list[bytes]:
    """Make all pictures in one browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            return [photograph(browser, picture, *place) for picture, place in zip(PICTURES, places, strict=True)]
        finally:
            browser.close()


@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_every_picture_can_be_made_and_stands_in_the_docs() -> None:
    """Each is made of the page itself, is small, as wide as the one in the docs, and shown on a page of these."""
    from twisted.internet import reactor

    listener: Any = reactor
    fronts = [picture.make() for picture in PICTURES]
    ports = [listener.listenTCP(0, front.site, interface="127.0.0.1") for front in fronts]
    try:
        places = [
            (f"http://127.0.0.1:{port.getHost().port}", front.log_in()["Cookie"])
            for port, front in zip(ports, fronts, strict=True)
        ]
        taken = await deferToThread(photographs, places)
    finally:
        for port in ports:
            await port.stopListening()
    shown = set(re.findall(r"\(pictures/([^)]+)\)", (DOCS / "dashboard.md").read_text()))
    assert shown == {f"{picture.name}.png" for picture in PICTURES}
    for picture, content in zip(PICTURES, taken, strict=True):
        file = DOCS / "pictures" / f"{picture.name}.png"
        assert Image.open(io.BytesIO(content)).width == picture.width == width_of(file)
        assert max(len(content), file.stat().st_size) < 120_000, picture.name


def test_the_recorded_terminal_loads_nothing() -> None:
    """The drawing of the session names no font or image of another host, and neither shows where it was recorded."""
    drawn, recorded = (DOCS / "session.svg").read_text(), (DOCS / "session.cast").read_text()
    assert not re.search(r"url\([^#]|href=|@font-face|@import", drawn)
    for said in ("cachew git setup", "git clone https://git.example/", "git restore"):
        assert said in recorded and said.replace(" ", "&#160;") in drawn
    assert "127.0.0.1" not in drawn + recorded and "/tmp/" not in drawn + recorded
