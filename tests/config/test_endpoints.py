"""A shell is offered only where local users come."""

import pytest

from cachew.config.endpoints import numbers_complaint, reach_of_shell


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


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("tcp:65536", "a port is a number up to 65535"),
        ("tcp6:-1", "a port is a number up to 65535"),
        ("tcp:interface=127.0.0.1:port=99999999", "a port is a number up to 65535"),
        ("tls:x:certificate=c", "a port is a number up to 65535"),
        ("tcp:1:backlog=-1", "a backlog is a number up to 2147483647"),
        ("unix:a:backlog=9999999999", "a backlog is a number up to 2147483647"),
        ("unix:a\0", "it holds control characters"),
        ("tcp:0:interface=127.0.0.1:backlog=5", ""),
        ("tcp:interface=127.0.0.1:port=2222", ""),
        (r"unix:a\:b:mode=600", ""),
        ("systemd:domain=INET:index=0", ""),
        ("tcp", "a port is a number up to 65535"),
        ("", ""),
    ],
)
def test_numbers_that_no_socket_takes(description: str, complaint: str) -> None:
    """They are told before anything listens; what else is wrong its parser tells."""
    assert numbers_complaint(description) == complaint
