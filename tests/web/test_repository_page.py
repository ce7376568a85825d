"""A repository's own page: what is known, what happened, and actions that need no script."""

import re
from urllib.parse import urlencode

from twisted.logger import Logger, LogPublisher

from cachew.mirrors.usage import RepositoryClients
from cachew.plumbing.happenings import KEPT, Happening, Happenings
from cachew.plumbing.logs import EventLog
from cachew.web.statuses import RepositoryStatus
from tests.fakes.clock import FakeClock
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


def test_names_that_are_no_text_are_shown() -> None:
    """Refs whose names are not UTF-8, and what was said of them, stand on the page with their bytes written out."""
    site = front()
    site.operations.known = [RepositoryStatus(name=NAME, state="ready", set_aside={"refs/heads/\udce9": "gone"})]
    site.events[NAME].append(Happening(NOW - 30, "warn", "caf\udce9 failed"))
    shown = site.ask(PAGE, headers=site.log_in())
    assert shown.status == 200
    assert all(text in shown.body.decode() for text in ("refs/heads/\\udce9", "caf\\udce9 failed"))


def test_shows_state_and_history() -> None:
    """The page tells state, the whole error, refs that are set aside and the last events, all of it as text."""
    site = front()
    text = site.ask(PAGE, headers=site.log_in()).body.decode()
    for needed in ("&lt;b&gt;it broke", "failed: &lt;i&gt;", "refs/x", "gone", "Upstream asked", ">5 s<", ">60 s<"):
        assert needed in text, needed
    assert "<b>it broke" not in text


def test_tells_what_is_kept_by_kinds() -> None:
    """The page tells the bytes of each kind, and how many times the mirror's all of them are."""
    site = front()
    site.operations.known = [RepositoryStatus(name=NAME, state="ready", size=5_000_000_000)]
    text = site.ask(PAGE, headers=site.log_in()).body.decode()
    for needed in ("Kept packs", "2.1 GB", "Snapshot", "1.9 GB", "All together", "15 GB", "2.9 times the mirror"):
        assert needed in text, needed


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
    log, happened = Logger("cachew.test", observer=LogPublisher(events)), events.happenings.of
    for number in range(KEPT + 5):
        log.info("fetched {repository} {number}", repository="h/r", number=number)
    log.error("{repository} failed", repository="h/other")
    log.debug("{repository} in detail", repository="h/other")
    log.info("nothing of a repository")
    assert [event.text for event in happened("h/r")][:2] == [f"fetched h/r {KEPT + 4}", f"fetched h/r {KEPT + 3}"]
    assert len(happened("h/r")) == KEPT
    assert [(event.level, event.text) for event in happened("h/other")] == [("error", "h/other failed")]
    assert happened("h/none") == []


def test_work_behind_and_what_is_made_are_events_of_their_repository() -> None:
    """What a log line names as work of a repository, or as made of it, is on its page, whatever the field's name."""
    events = EventLog()
    log = Logger("cachew.test", observer=LogPublisher(events))
    log.warn("{what} failed: {error}", what="fetch of h/o/r", error="x" * 9000)
    log.info("made {key}", key="snapshot:h/o/r ref=refs/heads/x")
    log.info("made {key}", key="0123")
    log.warn("{what} failed", what="fitting of all mirrors")
    made, failed = events.happenings.of("h/o/r")
    assert made.text == "made snapshot:h/o/r ref=refs/heads/x" and len(failed.text) > 9000


def test_what_is_said_again_is_counted() -> None:
    """A check every few seconds is one event with the time of the last; texts have one bound together."""
    happenings = Happenings()
    for second in range(5):
        happenings.note("h/r", second, "info", "asked")
    happenings.note("h/r", 5, "warn", "asked")
    assert [(event.at, event.count) for event in happenings.of("h/r")] == [(5, 1), (4, 5)]
    for number in range(2500):
        happenings.note(f"h/{number}", 0, "error", f"{number} " + "x" * 15_990)
    assert happenings.of("h/r") == [] and happenings.of("h/400") == [] and len(happenings.of("h/2499")) == 1


def test_who_asked_is_shown() -> None:
    """The last clients are listed with how often and when they asked; of very many the last twenty are known."""
    clock = FakeClock(NOW)
    clients = RepositoryClients(clock=clock)
    for number in (*range(30), 29):
        clients.note(NAME, f"10.0.0.{number}")
        clock.advance(1)
    assert [(use.client, use.requests) for use in clients.of(NAME)[:2]] == [("10.0.0.29", 2), ("10.0.0.28", 1)]
    assert len(clients.of(NAME)) == 20
    site = front()
    site.clients[NAME] = list(clients.of(NAME))
    text = site.ask(PAGE, headers=site.log_in()).body.decode()
    assert "10.0.0.29" in text and "2 requests" in text and "1 request " in text
