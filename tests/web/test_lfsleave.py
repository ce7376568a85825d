"""Leave to download LFS objects: remembered for a while, for whom it was given to, and asked for again."""

import json
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import Forbidden, TooLarge, UpstreamBusy, UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.streams import read_all
from cachew.upstream.client import UpstreamResponse
from cachew.upstream.lfsbatch import MEDIA_TYPE, WantedObject
from cachew.web.lfsleave import LfsLeave
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import Sources, Steps
from tests.fakes.gitserving import IDENTITY, FakeRemotes
from tests.fakes.settled import failure_of, value_of

TTL = 60.0
WANTED = WantedObject("a" * 64, 5)
OTHER = Identity("git.example", "org/other")


def answer(*wanted: WantedObject, **more: Any) -> bytes:
    """Return an upstream's answer that lets objects be downloaded."""
    objects = [
        {"oid": one.oid, "size": one.size, "actions": {"download": {"href": "https://git.example/o"}}} for one in wanted
    ]
    return json.dumps({"transfer": "basic", "objects": objects, **more}).encode()


class Upstream:
    """Answers batch requests, when a test lets it, and takes note of them."""

    def __init__(self) -> None:
        self.sources = Sources(Steps(slow=False))
        self.status, self.text = 200, answer(WANTED)
        self.gate: Deferred[None] | None = None
        self.asked: list[tuple[bytes, str, str | None, Any]] = []

    async def forward(
        self, method: bytes, url: str, headers: Any, body: Any, length: int, *, credential: str | None, written: str
    ) -> UpstreamResponse:
        """Answer."""
        question = await read_all(body, length)
        assert (b"Accept", MEDIA_TYPE.encode()) in headers and len(question) == length
        self.asked.append((method, url, credential, json.loads(question)["objects"]))
        if self.gate is not None:
            await self.gate
        return UpstreamResponse(self.status, [], self.sources.of(self.text), len(self.text), url)


class Leaving:
    """Leave, and who gives it."""

    def __init__(self) -> None:
        self.upstream, self.clock = Upstream(), FakeClock(now=1000.0)
        self.leave = LfsLeave(
            client=cast(Any, self.upstream),
            remotes=cast(Any, FakeRemotes()),
            clock=self.clock,
            ttl=TTL,
            key=b"k" * 32,
        )

    def require(
        self,
        credential: str | None = None,
        *,
        identity: Identity = IDENTITY,
        instance: str = "1",
        wanted: WantedObject = WANTED,
    ) -> Deferred[None]:
        """Require leave."""
        return Deferred.fromCoroutine(self.leave.require(identity, instance, credential, wanted))

    @property
    def questions(self) -> int:
        """How often the upstream was asked."""
        return len(self.upstream.asked)


def test_leave_that_was_just_given_is_not_asked_for() -> None:
    """Until it has expired, for any object; then the upstream is asked for the object with the same credential."""
    leaving = Leaving()
    leaving.leave.given(IDENTITY, "1", "Basic abc")
    leaving.clock.advance(TTL - 1)
    value_of(leaving.require("Basic abc"))
    value_of(leaving.require("Basic abc", wanted=WantedObject("b" * 64, 7)))
    assert leaving.questions == 0
    leaving.clock.advance(1)
    value_of(leaving.require("Basic abc"))
    question = [{"oid": WANTED.oid, "size": WANTED.size}]
    url = f"{FakeRemotes.url}/info/lfs/objects/batch"
    assert leaving.upstream.asked == [(b"POST", url, "Basic abc", question)]
    value_of(leaving.require("Basic abc"))
    assert leaving.questions == 1 and leaving.upstream.sources.left() == []


@pytest.mark.parametrize(
    "who",
    [
        {"credential": None},
        {"credential": "Basic abcd"},
        {"credential": ""},
        {"credential": "-"},
        {"credential": "Basic abc", "instance": "2"},
        {"credential": "Basic abc", "identity": OTHER},
    ],
)
def test_leave_is_nobody_elses(who: dict[str, Any]) -> None:
    """It is of one credential, for one instance of one repository; showing nothing is not showing an empty one."""
    leaving = Leaving()
    leaving.leave.given(IDENTITY, "1", "Basic abc")
    value_of(leaving.require(**who))
    assert leaving.questions == 1


def test_who_shows_nothing_is_not_who_shows_an_empty_credential() -> None:
    """Leave for everybody opens nothing to a credential that the upstream has not seen."""
    leaving = Leaving()
    leaving.leave.given(IDENTITY, "1", None)
    value_of(leaving.require(None))
    value_of(leaving.require(""))
    assert leaving.questions == 1


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, answer(), Forbidden),
        (200, answer(WantedObject("b" * 64, 5)), Forbidden),
        (200, answer(WantedObject(WANTED.oid, 6)), Forbidden),
        (200, answer(WANTED, transfer="multipart"), Forbidden),
        (200, b"<html>", Forbidden),
        (200, b" " * 70_000, TooLarge),
        (401, b"who?", UpstreamRefused),
        (403, b"no", UpstreamRefused),
        (404, b"", UpstreamRefused),
        (429, b"", UpstreamBusy),
        (503, b"", UpstreamBusy),
        (302, b"", UpstreamUnreachable),
    ],
)
def test_leave_that_is_not_given_is_not_remembered(status: int, text: bytes, kind: Any) -> None:
    """Whatever the upstream answers instead is told, its answer is closed, and it is asked the next time too."""
    leaving = Leaving()
    leaving.upstream.status, leaving.upstream.text = status, text
    for count in (1, 2):
        assert isinstance(failure_of(leaving.require()), kind)
        assert leaving.questions == count
    assert leaving.upstream.sources.left() == []


def test_many_who_need_the_same_leave_cost_one_question() -> None:
    """They wait for it together; one who goes away takes nobody with him, and the last one the question."""
    leaving = Leaving()
    leaving.upstream.gate = Deferred()
    gone, stays, other = leaving.require("Basic abc"), leaving.require("Basic abc"), leaving.require("Basic other")
    gone.addErrback(lambda failure: None)
    gone.cancel()
    assert leaving.questions == 2
    leaving.upstream.gate.callback(None)
    value_of(stays)
    value_of(other)
    given_up: Deferred[None] = Deferred()
    leaving.upstream.gate = given_up
    last = leaving.require("Basic third")
    last.addErrback(lambda failure: None)
    last.cancel()
    assert given_up.called
    leaving.upstream.gate = None
    value_of(leaving.require("Basic third"))
    assert leaving.questions == 4 and leaving.upstream.sources.left() == []
