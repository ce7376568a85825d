"""A repository's own page: what is known, what happened, and actions that need no script."""

import re
from urllib.parse import urlencode

from twisted.logger import Logger, LogPublisher

from cachew.plumbing.logs import KEPT, EventLog, Happening
from cachew.web.statuses import RepositoryStatus
from tests.web.adminfront import NOW, AdminFront

NAME = "dev.azure.com/org/My%20Project/_git/repo"
PAGE = f"/admin/repository?{urlencode({'name': NAME.replace('%20', ' ')})}"


def front() -> AdminFront:
    found = AdminFront()
    found.operations.known = [
        RepositoryStatus(
            name=NAME, state="ready", checked=NOW - 5, error="<b>it broke</b>", set_aside={"refs/x": "gone"}
        )
    ]
    found.events[NAME] = [
        Happening(NOW - 60, "warn", f"fetch of {NAME} failed: <i>"),
        Happening(NOW - 90, "info", "made"),
    ]
    return found


def test_shows_state_and_history() -> None:
    """The page tells state, the whole error, refs that are set aside and the last events, all of it as text."""
    site = front()
    text = site.ask(PAGE, headers=site.log_in()).body.decode()
    for needed in ("&lt;b&gt;it broke", "failed: &lt;i&gt;", "refs/x", "gone", "Upstream asked", ">5 s<", ">60 s<"):
        assert needed in text, needed
    assert "<b>it broke" not in text


def test_actions_need_no_script_but_a_session_and_its_token() -> None:
    """A form begins an action; without the page's token nothing is done, and forgetting wants to be confirmed."""
    site = front()
    browser = site.log_in()
    (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', site.ask(PAGE, headers=browser).body.decode()))
    fields = {"name": NAME.replace("%20", " "), "csrf": csrf, "action": "fetch"}

    def post(**changed: str) -> int:
        body = urlencode(fields | changed).encode()
        return site.ask("/admin/repository", "POST", headers=browser, body=body).status

    assert post() == 200
    assert site.operations.acts == [(NAME, "fetch")]
    assert (post(csrf="x"), post(action="drop"), post(action="forget")) == (403, 404, 400)
    assert post(action="forget", sure="yes") == 200
    assert site.operations.acts == [(NAME, "fetch"), (NAME, "forget")]


def test_strangers_are_led_to_the_login() -> None:
    """Who is not logged in sees nothing, and does nothing."""
    site = front()
    assert site.ask(PAGE).header("Location") == "/admin/login"
    assert site.ask("/admin/repository", "POST", body=b"name=h/r&action=fetch").status == 401
    assert site.ask("/admin/repository?name=h/none", headers=site.log_in()).status == 404


def test_the_last_events_of_each_repository_are_kept() -> None:
    """Events about a repository are kept with their time and level, the last first, a hundred of each."""
    events = EventLog()
    log = Logger("cachew.test", observer=LogPublisher(events))
    for number in range(KEPT + 5):
        log.info("fetched {repository} {number}", repository="h/r", number=number)
    log.error("{repository} failed", repository="h/other")
    log.debug("{repository} in detail", repository="h/other")
    log.info("nothing of a repository")
    assert [event.text for event in events.of("h/r")][:2] == [f"fetched h/r {KEPT + 4}", f"fetched h/r {KEPT + 3}"]
    assert len(events.of("h/r")) == KEPT
    assert [(event.level, event.text) for event in events.of("h/other")] == [("error", "h/other failed")]
    assert events.of("h/none") == []
