"""Which of a host's addresses has answered last.

A host may have several, one of which is dead. Connections of this server's own try them one after the other within
fractions of a second; git's library gives the first of a family half of five minutes (curl/curl#11693, #13986). So git
is told first of the one that has just answered.
"""

from collections import OrderedDict
from collections.abc import Iterable

_MOST = 1000


class AnsweringAddresses:
    """Remembers them by host and port; the longest unused goes first."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, int], str] = OrderedDict()

    def note(self, host: str, port: int, address: str) -> None:
        """Note that a host has answered at an address."""
        self._last[host, port] = address
        self._last.move_to_end((host, port))
        if len(self._last) > _MOST:
            self._last.popitem(last=False)

    def first(self, host: str, port: int, addresses: Iterable[str]) -> list[str]:
        """Return a host's addresses in their order, but for the one that has answered last, which comes first."""
        last = self._last.get((host, port))
        return sorted(addresses, key=lambda address: address != last)
