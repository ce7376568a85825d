"""One trace from a client's request to all that is done for it: processes, requests to upstreams, calls to the store.

The span of a request is of the context in which it is answered (:mod:`contextvars`), like its id
(:mod:`cachew.plumbing.logs`). What many wait for is part of the trace of the request that began it. Where there is
none, as when nothing is traced, all of this does nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Fact = str | int


class Span(Protocol):
    """Something that takes time."""

    def begin(self, name: str, *, leaves: bool, facts: Mapping[str, Fact]) -> "Span":
        """Begin what is part of it.

        :param leaves: whether it is a request to another server.
        """

    def headers(self) -> Mapping[str, str]:
        """Return the headers that have another server go on with the trace (W3C Trace Context)."""

    def end(self, *, failed: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        """End it, with what went wrong if anything did."""


class Untraced:
    """What is part of no trace."""

    def begin(self, name: str, *, leaves: bool, facts: Mapping[str, Fact]) -> Span:
        """Begin nothing."""
        return self

    def headers(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    def end(self, *, failed: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        """Do nothing."""


UNTRACED = Untraced()
_current: ContextVar[Span] = ContextVar("span", default=UNTRACED)


def current() -> Span:
    """Return the span of the request that this is done for."""
    return _current.get()


def enter(span: Span) -> None:
    """Have what follows in this context be part of a span."""
    _current.set(span)


def begin(name: str, *, leaves: bool = False, **facts: Fact) -> Span:
    """Begin a part of the current span; whoever begins it ends it."""
    return current().begin(name, leaves=leaves, facts=facts)


@contextmanager
def spanning(name: str, *, leaves: bool = False, **facts: Fact) -> Iterator[None]:
    """Have a block be a part of the current span."""
    span = begin(name, leaves=leaves, **facts)
    try:
        yield
    except BaseException as error:
        span.end(failed=type(error).__name__)
        raise
    span.end()
