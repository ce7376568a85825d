"""Where the server listens, and what it says of that while it comes and goes."""

from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from cachew.plumbing.errors import CachewError
from cachew.server.announcement import Announcement
from cachew.server.listeners import Listeners, in_words
from tests.fakes.settled import failure_of, result_of, value_of


class Site:
    """What answers, with connections that a test ends."""

    connections = 2

    def __init__(self) -> None:
        self.retired: Deferred[None] = Deferred()
        self.aborted = False

    def retire(self) -> Deferred[None]:
        return self.retired

    def abort_connections(self) -> None:
        self.aborted = True


class Port:
    """A port that has no address once it is closed, as Twisted's."""

    def __init__(self, address: Any) -> None:
        self._address = address

    def getHost(self) -> Any:
        if self._address is None:
            raise AttributeError("'Port' object has no attribute 'socket'")
        return self._address

    def stopListening(self) -> None:
        self._address = None


class Reactor(MemoryReactorClock):
    """Listens at any port but one."""

    taken = 0

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port == self.taken:
            raise CannotListenError(interface, port, OSError("Address already in use"))
        kind = IPv6Address if ":" in interface else IPv4Address
        return Port(kind("TCP", interface or "0.0.0.0", port))


class World:
    """Listeners at some endpoints."""

    def __init__(self, *endpoints: str) -> None:
        self.reactor, self.site = Reactor(), Site()
        self.listeners = Listeners(reactor=self.reactor, endpoints=endpoints, site=cast(Any, self.site))
        self.reloaded = 0
        self.codes = iter("abc")

    def announcement(self, public_url: str | None = None) -> Announcement:
        return Announcement(
            listeners=self.listeners, public_url=public_url, login_code=lambda: next(self.codes), reload=self._reload
        )

    async def _reload(self) -> None:
        self.reloaded += 1


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("tcp:8080:interface=127.0.0.1", "http://127.0.0.1:8080"),
        ("tcp:8080", "http://localhost:8080"),
        (r"tcp:8080:interface=\:\:1", "http://[::1]:8080"),
        (r"tcp:8080:interface=\:\:", "http://localhost:8080"),
    ],
)
def test_a_browser_s_way_in(endpoint: str, url: str) -> None:
    """By an address that it can connect to."""
    world = World(endpoint)
    assert world.listeners.url is None
    result_of(world.listeners.open())
    assert world.listeners.url == url


def test_the_first_that_a_browser_gets_at_is_named() -> None:
    """While only some listen yet, of those."""
    world = World("tcp:8080:interface=127.0.0.1", "tcp:9090")
    world.reactor.taken = 9090
    with pytest.raises(CachewError, match=r"nobody can listen on tcp:9090: .*Address already in use"):
        result_of(world.listeners.open())
    assert world.listeners.url == "http://127.0.0.1:8080"
    result_of(world.listeners.close())


def test_where_nobody_listens_any_more_nothing_is_named() -> None:
    """Who asks for the way in while the server goes is told none, and the config is read all the same."""
    world = World("tcp:8080")
    announcement = world.announcement()
    result_of(world.listeners.open())
    result_of(announcement.renew())
    result_of(world.listeners.close())
    assert world.listeners.addresses == []
    assert world.listeners.url is None
    result_of(announcement.renew())
    assert world.reloaded == 2
    result_of(world.listeners.close())


def test_an_announcement_uses_up_a_code_only_where_there_is_a_way_in() -> None:
    """Each is good once."""
    world = World("tcp:8080")
    announcement = world.announcement("https://cachew.example/")
    result_of(announcement.announce())
    assert next(world.codes) == "a"
    result_of(world.listeners.open())
    result_of(announcement.announce())
    assert next(world.codes) == "c"


def test_who_is_answered_is_waited_for() -> None:
    """And broken off when it takes too long."""
    world = World("tcp:8080")
    draining = Deferred.fromCoroutine(world.listeners.drain(10))
    world.reactor.advance(9)
    assert not draining.called
    world.site.retired.callback(None)
    assert value_of(draining) is None
    assert not world.site.aborted
    late = World("tcp:8080")
    draining = Deferred.fromCoroutine(late.listeners.drain(10))
    late.reactor.advance(10)
    assert value_of(draining) is None
    assert late.site.aborted


def test_a_wait_that_is_broken_off_breaks_nobody_off() -> None:
    """Whoever ends it sees to the rest."""
    world = World("tcp:8080")
    draining = Deferred.fromCoroutine(world.listeners.drain(10))
    draining.cancel()
    assert isinstance(failure_of(draining), CancelledError)
    assert not world.site.aborted


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (IPv4Address("TCP", "10.0.0.1", 80), "10.0.0.1:80"),
        (IPv6Address("TCP", "fe80::1", 80), "[fe80::1]:80"),
        (UNIXAddress(b"/run/cachew.sock"), "/run/cachew.sock"),
        (UNIXAddress(b"/run/\xff"), "/run/\udcff"),
    ],
)
def test_addresses_in_words(address: Any, words: str) -> None:
    """As URLs and people write them."""
    assert in_words(address) == words


def test_an_address_of_another_kind() -> None:
    """Or one without a name: as it shows itself."""
    assert in_words(UNIXAddress(None)) == str(UNIXAddress(None))
