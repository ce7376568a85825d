"""Pictures of the dashboard, of a repository's page and of the fleet, in ``docs/pictures``."""

import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from twisted.internet.threads import deferToThread

from tests.web.pictures import PICTURES, Picture, photograph

DOCS = Path(__file__).parents[2] / "docs"
_FLAGS = ["--no-sandbox", "--disable-gpu", "--in-process-gpu"]


async def photograph_all(reactor: Any) -> None:
    """Make all pictures."""
    for picture in PICTURES:
        front = picture.make()
        port = reactor.listenTCP(0, front.site, interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}"
        try:
            taken = await deferToThread(_photographed, picture, url, front.log_in()["Cookie"])
        finally:
            await port.stopListening()
        file = DOCS / "pictures" / f"{picture.name}.png"
        file.write_bytes(taken)
        print(f"{file.relative_to(DOCS.parent)}: {len(taken)} bytes")


def _photographed(picture: Picture, url: str, cookie: str) -> bytes:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        try:
            return photograph(browser, picture, url, cookie)
        finally:
            browser.close()
