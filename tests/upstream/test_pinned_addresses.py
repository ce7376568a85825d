"""git connects to the addresses that were judged, and to no others."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.gitenvironment import joined
from cachew.upstream.hosts import Hosts
from cachew.upstream.pinned_addresses import Pins
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, value_of

HOSTS = Hosts(upstreams={"*": None, "git.example": "http://127.0.0.1:3000/"})


class Reactor(FakeClock):
    """Resolves every name to the same addresses; None for never."""

    def __init__(self, *addresses: str | None) -> None:
        super().__init__()
        self.addresses = addresses
        self.nameResolver = self

    def resolveHostName(self, receiver: Any, name: str) -> None:
        for address in filter(None, self.addresses):
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        if None not in self.addresses:
            receiver.resolutionComplete()


def pins(*addresses: str | None, url: str = "https://evil.org/a/b") -> tuple[Reactor, Any]:
    reactor = Reactor(*addresses)
    made = Pins(reactor=reactor, hosts=HOSTS, timeout=5)
    return reactor, Deferred.fromCoroutine(made.git_environment(url))


def test_only_public_addresses_are_given() -> None:
    """Of the addresses of a name git gets those that are public."""
    _, environment = pins("8.8.8.8", "169.254.169.254", "2606:4700::1", "::1", "8.8.8.8")
    assert value_of(environment)["GIT_CONFIG_VALUE_0"] == "evil.org:443:8.8.8.8,[2606:4700::1]"


def test_the_address_that_has_answered_comes_first() -> None:
    """git waits for minutes at a dead one before it tries the next; one that the host has no more is none of its."""
    hosts = Hosts(upstreams={"*": None})
    made = Pins(reactor=Reactor("8.8.8.8", "8.8.4.4", "1.1.1.1"), hosts=hosts, timeout=5)

    def told(port: int) -> str:
        environment = Deferred.fromCoroutine(made.git_environment(f"https://git.org:{port}/a"))
        return value_of(environment)["GIT_CONFIG_VALUE_0"].partition(f":{port}:")[2]

    hosts.answering.note("git.org", 443, "1.1.1.1")
    hosts.answering.note("git.org", 8443, "9.9.9.9")
    assert told(443) == "1.1.1.1,8.8.8.8,8.8.4.4"
    assert told(8443) == told(9443) == "8.8.8.8,8.8.4.4,1.1.1.1"
    for number in range(1000):
        hosts.answering.note(f"{number}.org", 443, "8.8.8.8")
    assert told(443) == "8.8.8.8,8.8.4.4,1.1.1.1"


@pytest.mark.parametrize("addresses", [(), ("10.0.0.1", "127.0.0.1")])
def test_without_a_public_address_git_is_not_started(addresses: tuple[str, ...]) -> None:
    """A name that leads to private addresses only, or nowhere, is said not to have any."""
    _, environment = pins(*addresses)
    assert isinstance(failure_of(environment), UpstreamUnreachable)


def test_a_resolver_that_hangs() -> None:
    """Resolving takes no longer than connecting may."""
    reactor, environment = pins(None)
    reactor.advance(5.1)
    assert isinstance(failure_of(environment), UpstreamTimeout)


def test_the_operators_own_hosts_are_left_to_git() -> None:
    """Where the operator wrote an address, it is as they say."""
    _, environment = pins(url="http://127.0.0.1:3000/a/b")
    assert value_of(environment) == {}


def test_joined() -> None:
    """Git reads the configuration of both environments."""
    one = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "1"}
    two = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "c.d", "GIT_CONFIG_VALUE_0": "2", "OTHER": "x"}
    both = joined(one, two)
    done = subprocess.run(
        ["git", "config", "--list"], env={"PATH": "/usr/bin:/bin", "HOME": "/", **both}, capture_output=True, check=True
    )
    assert {b"a.b=1", b"c.d=2"} <= set(done.stdout.splitlines()) and both["OTHER"] == "x"
    assert joined({}, two) == two and joined(one, {}) == one


def test_git_obeys(tmp_path: Path) -> None:
    """The installed git connects where it is told to."""
    _, environment = pins("8.8.8.8", url="http://evil.org:1/a/b")
    told = dict(value_of(environment)) | {"GIT_CONFIG_VALUE_0": "evil.org:1:127.0.0.1"}
    done = subprocess.run(
        ["git", "ls-remote", "http://evil.org:1/a/b"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0", **told},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "Failed to connect to evil.org port 1" in done.stderr or "Connection refused" in done.stderr, done.stderr
