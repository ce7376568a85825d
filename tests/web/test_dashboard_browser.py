"""The dashboard in a real browser, under its own content security policy."""

import shutil
import time
from typing import Any

import pytest
import pytest_twisted
from playwright.sync_api import Page, expect, sync_playwright
from twisted.internet.threads import deferToThread

from cachew.web.statuses import RepositoryStatus
from tests.web.adminfront import TOKEN, AdminFront, repositories

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 15_000


def in_browser(url: str, code: str, script: Any, scheme: Any) -> list[str]:
    """Log in, run a script against the dashboard and return what the browser complained of."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"{url}/admin/login?code={code}")
            expect(page.get_by_role("heading", name="Repositories")).to_be_visible(timeout=PATIENCE)
            script(page)
        finally:
            browser.close()
    return complaints


async def visit(front: AdminFront, script: Any, scheme: str = "light") -> list[str]:
    """Serve the dashboard on loopback while a browser runs a script against it."""
    from twisted.internet import reactor

    listener: Any = reactor
    port = listener.listenTCP(0, front.site, interface="127.0.0.1")
    try:
        url = f"http://127.0.0.1:{port.getHost().port}"
        return await deferToThread(in_browser, url, front.access.new_login_code(), script, scheme)
    finally:
        await port.stopListening()


async def busy_front() -> AdminFront:
    """Return a server with repositories in all states and a past."""
    front = AdminFront()
    front.operations.known = repositories()
    for total in (40, 90, 180, 200, 260, 410, 450, 620, 640, 690, 880, 910, 1040, 1300, 1390, 1420):
        front.operations.counts = {
            "memory": total * 7, "mirror": total * 3, "pack cache": total * 2, "upstream": total // 6,
        }  # fmt: skip
        await front.dashboard.sample()
    return front


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_a_button_begins_its_action() -> None:
    """A click on a repository's button begins that action there, tells so, and the filter narrows the list."""

    def script(page: Page) -> None:
        page.get_by_label("Filter repositories").fill("CPYTHON")
        expect(page.locator("td").get_by_text("github.com/torvalds/linux", exact=True)).to_be_hidden()
        row = page.get_by_role("row").filter(has_text="github.com/python/cpython")
        row.get_by_role("button", name="Fetch").click()
        expect(page.get_by_role("status")).to_have_text("fetch of github.com/python/cpython has begun")
        expect(row).to_be_visible()
        page.once("dialog", lambda dialog: dialog.dismiss())
        row.get_by_role("button", name="Forget").click()

    front = await busy_front()
    complaints = await visit(front, script)
    assert front.operations.acts == [("github.com/python/cpython", "fetch")]
    assert complaints == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest_twisted.ensureDeferred
async def test_it_is_drawn_within_its_window(scheme: str) -> None:
    """Nothing overflows the window sideways, in either colour scheme; the curve and the bars have been drawn."""

    def script(page: Page) -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator(".table").evaluate("table => table.scrollWidth <= table.clientWidth")
        assert page.locator(".curve polyline").bounding_box()["height"] > 20  # type: ignore[index]
        assert page.locator(".bar rect").first.bounding_box()["width"] > 50  # type: ignore[index]

    assert await visit(await busy_front(), script, scheme) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_a_narrow_window_hides_no_name() -> None:
    """On a telephone's screen the page is as wide as the screen, and no button lies over a repository's name."""

    def script(page: Page) -> None:
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        name = page.locator("td .name").first.bounding_box()
        button = page.locator("td.actions button").first.bounding_box()
        assert name is not None and button is not None
        assert button["x"] >= name["x"] + name["width"] or button["y"] >= name["y"] + name["height"]

    assert await visit(await busy_front(), script) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_it_keeps_itself_fresh_and_logs_out() -> None:
    """What changes on the server shows without a reload, and logging out leads to the login page."""
    front = AdminFront()

    def script(page: Page) -> None:
        page.clock.install()
        page.reload()
        expect(page.get_by_text("ready", exact=True).first).to_be_visible()
        front.operations.reason = "shutting down"
        page.clock.run_for(6000)
        expect(page.get_by_text("shutting down")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()

    assert await visit(front, script) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_what_is_shown_already_is_not_sent_again() -> None:
    """As long as nothing happens the page is told so in a few bytes, and goes on showing how old everything is."""
    front = AdminFront()
    front.operations.known = [RepositoryStatus(name="git.example/org/repo", state="ready", used=time.time() - 9000)]

    def script(page: Page) -> None:
        page.clock.install()
        page.reload()
        used = page.get_by_role("row").filter(has_text="git.example/org/repo").locator("time")
        for status, coding in ((200, "gzip"), (304, None), (304, None)):
            page.evaluate("document.querySelectorAll('time').forEach(time => time.textContent = '')")
            with page.expect_response("**/admin/live") as answer:
                page.clock.run_for(5000)
            assert (answer.value.status, answer.value.header_value("content-encoding")) == (status, coding)
            expect(used).to_have_text("2 h")
        front.operations.reason = "shutting down"
        page.clock.run_for(5000)
        expect(page.get_by_text("shutting down")).to_be_visible()

    assert await visit(front, script) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_the_token_in_the_form_logs_a_browser_in() -> None:
    """From the server's bare address a browser finds the dashboard, and the admin token opens it."""
    front = AdminFront()

    def script(page: Page) -> None:
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()
        page.goto(page.url.replace("/admin/login", "/"))
        page.get_by_role("link", name="dashboard").click()
        page.get_by_label("Admin token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Repositories")).to_be_visible()

    assert await visit(front, script) == []
