"""What the server says about itself while it lives."""

from typing import Any, cast

import pytest
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.web.resource import Resource

from cachew.http.site import make_site
from cachew.plumbing.metrics import Metrics
from cachew.server.lifecycle import Patience, Phases, Server
from cachew.server.listeners import Listeners, in_words
from cachew.server.watchdog import Watchdog
from tests.fakes.settled import value_of


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), "127.0.0.1:8080"),
        (IPv6Address("TCP", "::1", 8080), "[::1]:8080"),
        (UNIXAddress("/run/cachew.sock"), "/run/cachew.sock"),
    ],
)
def test_an_address_is_written_as_people_write_it(address: Any, text: str) -> None:
    """Where the server listens can be copied out of the log."""
    assert in_words(address) == text


class NoPool:
    """Threads that nobody needs."""

    def start(self) -> None:
        """Start."""

    def stop(self) -> None:
        """Stop."""


class HungJob(Service):
    """A job that does not end."""

    def stopService(self) -> "Deferred[None]":
        """Begin to end."""
        return Deferred()


async def hang() -> None:
    """Wait for a store that gives no answer, and then for the end of that wait."""
    try:
        await Deferred[None]()
    except CancelledError:
        await Deferred[None]()


@pytest.mark.parametrize("steps", [1, 5])
def test_a_storage_that_hangs_keeps_no_server_alive(steps: int) -> None:
    """Jobs and steps of the end that never end are given up after a while, and what comes after them is still done."""
    reactor: Any = MemoryReactorClock()
    closed: list[str] = []
    notices: list[str] = []

    async def last() -> None:
        closed.append("last")

    server = Server(
        reactor=reactor,
        listeners=Listeners(reactor=reactor, endpoints=[], site=make_site(Resource(), reactor=reactor)),
        pool=cast(Any, NoPool()),
        phases=Phases(opening=[], jobs=[HungJob()], closing=[*[hang] * steps, last], hang_up=last),
        patience=Patience(readiness_delay=0, shutdown=0),
        watchdog=Watchdog(
            reactor=reactor, clock=reactor, notify=notices.append, patience=0, stall_report=0, metrics=Metrics()
        ),
    )
    server.startService()
    for start, words, named in reactor.whenRunningHooks:
        start(*words, **named)
    with capturedLogs() as logs:
        stopped = server.stopService()
        for _ in range(20 + steps):
            assert not stopped.called
            reactor.advance(1)
    assert value_of(stopped) is None
    assert closed == ["last"] and notices[-1] == "WATCHDOG=1" and "STOPPING=1" in notices
    told = [event for event in logs if event["log_level"] is LogLevel.error]
    assert len(told) == steps + 1 and "hang" in told[-1]["step"]
