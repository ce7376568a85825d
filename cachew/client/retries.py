"""When a request that failed is sent again: a few times, and not before the server wants to be asked."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from cachew.client.clienterrors import ServerRefused, ServerUnreachable
from cachew.plumbing.retryafter import asked_wait

Result = TypeVar("Result")

RETRIED = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_WORTH_TELLING = 2.0


def said_wait(headers: Mapping[str, str]) -> "float | None":
    """Return the seconds for which an answer asks to be left alone, None when it doesn't say."""
    return asked_wait(headers.get("Retry-After", ""), headers.get("Date", ""))


class Retries(NamedTuple):
    """How often and when requests are sent again.

    :param pause: waits for a number of seconds.
    :param say: tells the user what is waited for.
    :param attempts: failures in a row, without a byte between them, that end a request.
    :param longest: the most seconds that a server is waited for; one that asks for more isn't asked again.
    """

    pause: Callable[[float], object]
    say: Callable[[str], object] = lambda text: None
    attempts: int = 4
    longest: float = 60.0

    def allow(self, failures: int, asked: "float | None" = None) -> bool:
        """Say whether a request may be sent again.

        :param failures: how often in a row it has failed.
        :param asked: the seconds that the server asked for.
        """
        return failures < self.attempts and (asked or 0.0) <= self.longest

    def wait(self, failures: int, asked: "float | None" = None) -> None:
        """Wait for as long as the server asked for, and longer after every failure in a row."""
        if asked is not None and asked >= _WORTH_TELLING:
            self.say(f"The server is busy; it is asked again in {asked:.0f} seconds")
        self.pause(max(min(0.25 * 2**failures, 5.0), asked or 0.0))

    def when_welcome(self, ask: Callable[[], Result]) -> Result:
        """Ask, and again when a server that refuses says when to come back; any other failure is the end.

        :param ask: raises :class:`ServerRefused`.
        """
        failures = 0
        while True:
            try:
                return ask()
            except ServerRefused as error:
                failures, asked = failures + 1, error.retry_after
                if asked is None or not is_passing(error) or not self.allow(failures, asked):
                    raise
            self.wait(failures, asked)


def is_passing(failure: "ServerUnreachable | ServerRefused") -> bool:
    """Say whether the same request may succeed after a failure."""
    return not isinstance(failure, ServerRefused) or failure.status in RETRIED
