"""What ``cachew doctor`` finds out; git and the server are played."""

from typing import Any, cast

import pytest

from cachew.client.clienterrors import ServerUnreachable
from cachew.client.diagnosis import Diagnosis, Finding
from cachew.client.gitsetup import Setting, settings
from tests.fakes.clock import FakeClock

SERVER = "http://cachew.example"
NOW = 1_795_953_600.0
DATE = "Sun, 29 Nov 2026 12:00:00 GMT"


class Answer:
    """An answer to a probe."""

    def __init__(self, status: int = 200, body: str = "OK\n", **headers: str) -> None:
        self.status, self.headers = status, headers
        self._body = body

    def read(self, limit: int) -> bytes:
        """Return what it says."""
        return self._body.encode()[:limit]

    def close(self) -> None:
        """Nothing is held."""


class World:
    """A machine and a server; everything is as it should be until a test changes it."""

    def __init__(self) -> None:
        self.server = SERVER
        self.version = "git version 2.39.5 (Apple Git-154)"
        self.known = [_printed(one) for one in settings(SERVER, ["github.com"], fast=True)]
        self.helper: str | None = "/usr/bin/git-remote-cachew"
        self.answers: dict[str, Answer | Exception] = {
            "/_liveness": Answer(Server="cachew/1.0", Date=DATE),
            "/_readiness": Answer(),
        }
        self.ahead = 0.0

    def request(self, method: str, url: str) -> Answer:
        """Play the server."""
        answer = self.answers[url.removeprefix(SERVER)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def text(self, directory: object, *words: str) -> str:
        """Play git."""
        return self.version

    def listed(self, directory: object) -> list[tuple[str, str]]:
        """Play git."""
        return self.known

    def findings(self) -> dict[str, Finding]:
        diagnosis = Diagnosis(
            http=cast(Any, self),
            git=cast(Any, self),
            find=lambda name: self.helper,
            clock=FakeClock(now=NOW + self.ahead),
            version="1.0",
        )
        return {finding.subject: finding for finding in diagnosis.findings()}


def _printed(setting: Setting) -> tuple[str, str]:
    return setting.name.replace("insteadOf", "insteadof"), setting.value


def bad(world: World) -> list[str]:
    """Name what is not as it should be; each has advice."""
    found = [finding for finding in world.findings().values() if not finding.good]
    assert all(finding.advice for finding in found)
    return [finding.subject for finding in found]


def test_all_is_well() -> None:
    """Then there is nothing to be done."""
    found = World().findings()
    assert list(found) == [
        *("git", "server", "readiness", "versions", "clock", "configuration", "helper", "submodules", "credentials")
    ]
    assert all(finding.good and not finding.advice for finding in found.values())


@pytest.mark.parametrize("version", ["git version 2.30.9", "git version 1.99", "", "usage: git"])
def test_an_old_git_is_told(version: str) -> None:
    """And one that does not run."""
    world = World()
    world.version = version
    assert bad(world) == ["git"]


def test_the_number_after_the_point_is_a_number() -> None:
    """2.100 is newer than 2.31."""
    world = World()
    world.version = "git version 2.100.0"
    assert bad(world) == []


def test_a_server_that_does_not_answer() -> None:
    """What is to be known without it is told all the same."""
    world = World()
    world.answers["/_liveness"] = ServerUnreachable("cannot talk to it", "Check that it runs.")
    assert bad(world) == ["server"]
    assert "versions" not in world.findings()
    assert "credentials" in world.findings()


def test_a_server_that_goes_away_between_two_questions() -> None:
    """That is one finding, not the end of all."""
    world = World()
    world.answers["/_readiness"] = ServerUnreachable("cannot talk to it", "Check that it runs.")
    assert bad(world) == ["readiness"]
    assert "credentials" in world.findings()


@pytest.mark.parametrize("answer", [Answer(), Answer(Server="nginx/1.2"), Answer(503, Server="cachew/1.0")])
def test_another_server(answer: Answer) -> None:
    """Something between may answer in its place."""
    world = World()
    world.answers["/_liveness"] = answer
    assert bad(world) == ["server"]


def test_what_does_not_work_though_the_server_is_ready_is_told() -> None:
    """In the server's words, as far as a terminal takes them; that is nothing that a client could do anything about."""
    world = World()
    world.answers["/_readiness"] = Answer(body="OK\ncache tier 2-s3 fails: AccessDenied\nesc\x1b[2J\n")
    assert bad(world) == []
    assert world.findings()["readiness"].says == "ready; cache tier 2-s3 fails: AccessDenied"


def test_a_server_that_is_not_ready_or_of_another_version() -> None:
    """Each is told on its own."""
    world = World()
    world.answers["/_liveness"] = Answer(Server="cachew/2.0", Date=DATE)
    world.answers["/_readiness"] = Answer(503)
    assert bad(world) == ["readiness", "versions"]


@pytest.mark.parametrize(
    ("ahead", "says"), [(299, "agrees"), (-299, "agrees"), (301, "301 s ahead of"), (-400, "400 s behind")]
)
def test_how_far_the_clocks_are_apart(ahead: float, says: str) -> None:
    """Some minutes do no harm."""
    world = World()
    world.ahead = ahead
    assert says in world.findings()["clock"].says
    assert bad(world) == ([] if says == "agrees" else ["clock"])


@pytest.mark.parametrize("date", ["", "today", "Sun, 99 Nov 2026 12:00:00 GMT"])
def test_a_date_that_is_none_says_nothing(date: str) -> None:
    """It is passed over."""
    world = World()
    world.answers["/_liveness"] = Answer(Server="cachew/1.0", Date=date)
    assert "clock" not in world.findings()
    assert bad(world) == []


def test_a_machine_that_was_never_set_up() -> None:
    """Git goes to no server, and needs no helper."""
    world = World()
    world.known, world.helper = [], None
    assert bad(world) == ["configuration"]
    assert "nothing needs it" in world.findings()["helper"].says


def test_a_machine_that_goes_to_another_server() -> None:
    """Which is named."""
    world = World()
    world.known = [_printed(one) for one in settings("http://other.example", ["github.com"], fast=False)]
    assert bad(world) == ["configuration"]
    assert "http://other.example" in world.findings()["configuration"].says


def test_clones_that_need_the_helper() -> None:
    """It has to be on the PATH, and submodules need leave for it."""
    world = World()
    world.helper = None
    world.known = [(name, value) for name, value in world.known if name != "protocol.cachew.allow"]
    assert bad(world) == ["helper", "submodules"]


def test_nobody_says_whose_credentials_are_sent() -> None:
    """An address that is rewritten needs a helper of its own, or a header."""
    world = World()
    rewriting = [(name, value) for name, value in world.known if not name.startswith("credential.")]
    world.known = rewriting
    assert bad(world) == ["credentials"]
    world.known = [*rewriting, (f"http.{SERVER}/git/github.com/.extraheader", "Authorization: x")]
    assert bad(world) == []
