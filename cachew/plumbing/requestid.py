"""Which request something is done for: an id that is in its log lines, in its answer and in what is sent upstream.

The id is of the context in which a request is answered (:mod:`contextvars`), so coroutines that its handler awaits or
starts have it too. What many wait for has the id of the request that began it.
"""

import re
from collections.abc import Callable
from contextvars import ContextVar

HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~+/=:@-]{0,127}")
_current: ContextVar[str] = ContextVar("request id", default="")


def current() -> str:
    """Return the id of the request that this is done for, empty where it is for none."""
    return _current.get()


def begin(identifier: str) -> None:
    """Have what follows in this context be done for a request."""
    _current.set(identifier)


def chosen(shown: str, make: Callable[[], str]) -> str:
    """Return the id that a client or a proxy has given a request; one that is made, where that can't be one.

    :param shown: the header's value.
    """
    return shown if _ACCEPTED.fullmatch(shown) else make()
