"""The dashboard in a real browser, under its own content security policy."""

import shutil
import time
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright
from twisted.internet.threads import deferToThread

from cachew.mirrors.usage import ClientUse
from cachew.plumbing.happenings import Happening
from cachew.upstream.outages import Outage
from cachew.web.statuses import RepositoryStatus
from tests.web.adminfront import NOW, TOKEN, AdminFront, front_for_browsers, repositories

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 15_000


def in_browser(url: str, code: str, script: Any, scheme: Any, scripts: bool) -> list[str]:
    """Log in, run a script against the dashboard and return what the browser complained of."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = browser.new_page(
                viewport={"width": 1440, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
            )
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"{url}/admin/login?code={code}")
            if not scripts:
                page.goto(f"{url}/admin/")
            expect(page.get_by_role("heading", name="Repositories")).to_be_visible(timeout=PATIENCE)
            script(page)
        finally:
            browser.close()
    return complaints


async def visit(front: AdminFront, script: Any, scheme: str = "light", *, scripts: bool = True) -> list[str]:
    """Serve the dashboard on loopback while a browser runs a script against it."""
    from twisted.internet import reactor

    listener: Any = reactor
    port = listener.listenTCP(0, front.site, interface="127.0.0.1")
    try:
        url = f"http://127.0.0.1:{port.getHost().port}"
        return await deferToThread(in_browser, url, front.access.new_login_code(), script, scheme, scripts)
    finally:
        await port.stopListening()


async def busy_front() -> AdminFront:
    """Return a server with repositories in all states and a past."""
    front = front_for_browsers()
    front.operations.known = repositories()
    front.traffic.busy = True
    return front


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_a_button_begins_its_action() -> None:
    """A click on a repository's button begins that action and tells so; filter, columns and spans load no page."""

    def script(page: Page) -> None:
        page.evaluate("window.same = true")
        page.get_by_role("link", name="Refs").click()
        expect(page.locator("th[aria-sort=ascending]")).to_have_text("Refs")
        page.get_by_role("link", name="day").click()
        expect(page.get_by_text("24 h ago").first).to_be_visible()
        page.get_by_label("Filter repositories").fill("CPYTHON")
        expect(page.locator("td").get_by_text("github.com/torvalds/linux", exact=True)).to_be_hidden()
        row = page.get_by_role("row").filter(has_text="github.com/python/cpython")
        row.get_by_role("button", name="Fetch").click()
        expect(page.locator("#notice")).to_have_text("fetch of github.com/python/cpython has begun")
        expect(row).to_be_visible()
        assert page.evaluate("window.same") and page.url.endswith("?sort=refs&span=day&name=CPYTHON")
        page.reload()
        expect(page.get_by_label("Filter repositories")).to_have_value("CPYTHON")

    front = await busy_front()
    complaints = await visit(front, script)
    assert front.operations.acts == [("github.com/python/cpython", "fetch")]
    assert complaints == []


def looks_right(page: Page, width: int) -> None:
    """Nothing is wider than the window or its card, no label narrower than its words, and no text is on another."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    assert page.evaluate(TOO_WIDE) == [], width
    assert page.evaluate(SQUEEZED) == [], width
    assert page.evaluate(OVERLAPS) == [], width


def can_be_used_by_all(page: Page) -> None:
    """Axe-core has nothing to say."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


TOO_WIDE = """() => [...document.querySelectorAll(".card")].filter(card => card.scrollWidth > card.clientWidth)
  .map(card => card.textContent)"""
"""Finds cards that hold more than they are wide."""

SQUEEZED = """() => [...document.querySelectorAll(".rows .grow")].filter(one => one.scrollWidth > one.clientWidth + 1)
  .map(one => one.textContent)"""
"""Finds labels that are broken letter by letter."""

OVERLAPS = """() => {
  const places = [...document.querySelectorAll("td a, td .pill, td button, td.num, dd, .grow")]
    .map(one => [one.textContent, one.getBoundingClientRect()]).filter(([, place]) => place.width);
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return places.flatMap(([text, a], number) => places.slice(number + 1).filter(([, b]) => !apart(a, b))
    .map(([other]) => `${text} / ${other}`));
}"""
"""Finds texts that lie over one another."""

TAB_STOPS = """() => {
  const end = document.querySelector("table");
  return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']")]
    .filter(one => one.tabIndex >= 0 && one.offsetParent
      && !(end.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING && !end.contains(one))).length;
}"""
"""Counts what the tab key stops at up to the table's end."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest_twisted.ensureDeferred
async def test_it_is_readable_on_every_screen(scheme: str) -> None:
    """On desktops and telephones, light and dark, all pages fit and axe-core finds nothing; few tab stops lead on."""
    front = await busy_front()
    front.outages = [Outage("github.com", NOW - 1900, NOW - 12, f"https://github.com/{'x' * 90} did not answer")]
    front.operations.known += [
        replace(front.operations.known[number % 5], name=f"github.com/organisation-{number}/a-name-of-some-length")
        for number in range(295)
    ]
    front.events["github.com/torvalds/linux"] = [
        Happening(NOW - 60, "error", "a traceback " * 60), Happening(NOW - 90, "info", "mirrored", 3)
    ]  # fmt: skip
    front.clients["github.com/torvalds/linux"] = [ClientUse("2001:db8::1234:5678", 12, NOW - 3)]

    def script(page: Page) -> None:
        assert page.evaluate(TAB_STOPS) <= 60
        for width in (1400, 1100, 390):
            looks_right(page, width)
        can_be_used_by_all(page)
        assert page.locator(".chart path.c0").first.bounding_box()["height"] > 20  # type: ignore[index]
        assert page.locator(".bar rect").first.bounding_box()["width"] > 50  # type: ignore[index]
        page.get_by_label("Filter repositories").fill("torvalds")
        page.get_by_role("link", name="github.com/torvalds/linux").click()
        expect(page.get_by_role("heading", name="Events")).to_be_visible()
        for width in (1400, 1100, 390):
            looks_right(page, width)
        can_be_used_by_all(page)
        page.get_by_role("link", name="Fleet").click()
        looks_right(page, 390)
        if scheme == "light":
            can_be_used_by_all(page)
        page.go_back()
        page.get_by_role("button", name="Forget").click()
        assert page.evaluate("document.querySelector('[name=sure]').validity.valueMissing")
        page.get_by_role("button", name="Repack").click()
        expect(page.get_by_role("status")).to_have_text("repack of github.com/torvalds/linux has begun")

    assert await visit(front, script, scheme) == []
    assert front.operations.acts == [("github.com/torvalds/linux", "repack")]


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_it_needs_no_script() -> None:
    """Without JavaScript the list is narrowed, sorted and paged, an action begun and the browser logged out."""
    front = await busy_front()

    def script(page: Page) -> None:
        page.get_by_label("State").select_option("error")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_role("link", name="Requests").click()
        expect(page.locator("th[aria-sort=ascending]")).to_have_text("Requests")
        page.get_by_role("button", name="Fetch").click()
        expect(page.get_by_role("status")).to_have_text("fetch of git.example:8443/infra/tools/deploy has begun")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()

    assert await visit(front, script, scripts=False) == []
    assert front.operations.acts == [("git.example:8443/infra/tools/deploy", "fetch")]


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_it_keeps_itself_fresh_and_logs_out() -> None:
    """What changes on the server shows without a reload, and logging out leads to the login page."""
    front = front_for_browsers()

    def script(page: Page) -> None:
        page.clock.install()
        page.reload()
        expect(page.get_by_text("ready", exact=True).first).to_be_visible()
        front.operations.reason = "shutting down"
        page.clock.run_for(6000)
        expect(page.get_by_text("shutting down").first).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()

    assert await visit(front, script) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_what_is_shown_already_is_not_sent_again() -> None:
    """As long as nothing happens the page is told so in a few bytes, and goes on showing how old everything is."""
    front = front_for_browsers()
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
        expect(page.get_by_text("shutting down").first).to_be_visible()

    assert await visit(front, script) == []


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_the_token_in_the_form_logs_a_browser_in() -> None:
    """From the server's bare address a browser finds the dashboard, and the admin token opens it."""
    front = front_for_browsers()

    def script(page: Page) -> None:
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()
        page.goto(page.url.replace("/admin/login", "/"))
        page.get_by_role("link", name="dashboard").click()
        page.get_by_label("Admin token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Repositories")).to_be_visible()

    assert await visit(front, script) == []
