"""A shell is offered only where local users come."""

import pytest

from cachew.config.endpoints import reach_of_shell


@pytest.mark.parametrize(
    "description",
    [
        "tcp:2222:interface=127.0.0.1",
        "tcp:interface=127.0.0.1:port=2222",
        "tcp:2222:interface=127.8.9.10",
        r"tcp6:2222:interface=\:\:1",
        r"tcp:2222:interface=\:\:1",
        "unix:/run/cachew/manhole:mode=600",
        "unix:manhole:mode=0600:lockfile=1",
    ],
)
def test_loopback_and_private_sockets_are_fit(description: str) -> None:
    """Loopback addresses and sockets of the server's own user will do."""
    assert reach_of_shell(description) == ""


@pytest.mark.parametrize(
    "description",
    [
        "tcp:2222",
        "tcp:2222:interface=",
        "tcp:2222:interface=0.0.0.0",
        "tcp:2222:interface=10.0.0.1",
        "tcp:2222:interface=localhost",
        r"tcp6:2222:interface=\:\:",
        "unix:/run/manhole",
        "unix:/run/manhole:mode=660",
        "unix:/run/manhole:mode=666",
        "unix:/run/manhole:mode=x",
        "ssl:2222:interface=127.0.0.1",
        "systemd:domain=INET:index=0",
        "",
    ],
)
def test_all_else_is_not(description: str) -> None:
    """Whatever others could reach is refused with what is allowed."""
    assert reach_of_shell(description).startswith("must be a loopback address")
