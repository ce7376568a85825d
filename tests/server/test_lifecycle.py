"""What the server says about itself while it lives."""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from cachew.server.lifecycle import in_words


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
