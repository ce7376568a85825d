"""Runs ``git http-backend`` for the test upstream: CGI out of a twisted.web request, independent of cachew's own."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer


class Responder:
    """Writes a response's body, and breaks it off where a test wants that.

    :param cut_after: bytes of the body after which the connection is closed, None for never.
    :param stalled: called then instead, and the connection stays open.
    """

    def __init__(
        self, request: Request, cut_after: int | None = None, stalled: Callable[[], object] | None = None
    ) -> None:
        self._request = request
        self._left = cut_after
        self._stalled = stalled
        self.lost = False

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Set the status and the headers."""
        self._request.setResponseCode(status)
        for name, value in headers:
            self._request.responseHeaders.addRawHeader(name, value)

    def write(self, data: bytes) -> None:
        """Send a piece of the body, or what may still be sent of it."""
        if self.lost:
            return
        if self._left is None:
            self._request.write(data)
            return
        if data[: self._left]:
            self._request.write(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            self.cut()

    def cut(self) -> None:
        """Close the connection once everything written has left."""
        self.lost = True
        channel: Any = self._request.channel
        if self._stalled is not None:
            self._stalled()
        elif channel is not None:
            with contextlib.suppress(Exception):
                self._request.unregisterProducer()
            channel.transport.loseConnection()

    def finish(self) -> None:
        """End the response; one that was shorter than the cut is broken off here."""
        if self._left is not None:
            self.cut()
        elif not self.lost:
            self._request.finish()


@implementer(IPushProducer)
class GitHttpBackend(ProcessProtocol):
    """One run of ``git http-backend``.

    :param request: whose body is the input.
    :param responder: takes the output.
    """

    def __init__(self, *, request: Request, responder: Responder) -> None:
        self._request = request
        self._responder = responder
        self._head: bytes | None = b""
        self._ended = False
        self._process: Any = None
        self.done: Deferred[None] = Deferred()
        self.errors = b""

    def spawn(self, reactor: Any, executable: str, environment: Mapping[str, str]) -> None:
        """Start the process."""
        reactor.spawnProcess(self, executable, [executable], env=dict(environment), path=None)

    def connectionMade(self) -> None:
        """Feed the body and let a slow client pause the process."""
        self._process = self.transport
        assert self._request.content is not None
        while piece := self._request.content.read(1024 * 1024):
            self._process.write(piece)
        self._process.closeStdin()
        self._request.registerProducer(self, True)

    def pauseProducing(self) -> None:
        """Stop reading what git writes."""
        self._process.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        if not self._ended:
            self._process.resumeProducing()

    def stopProducing(self) -> None:
        """End the process: nobody reads what it writes."""
        self._responder.lost = True
        with contextlib.suppress(ProcessExitedAlready):
            self._process.signalProcess("TERM")
        self.resumeProducing()

    def outReceived(self, data: bytes) -> None:
        """Pass the headers, then the body."""
        if self._head is None:
            self._responder.write(data)
            return
        self._head += data
        head, blank, body = self._head.partition(b"\r\n\r\n")
        if blank:
            self._head = None
            self._start(head.decode("latin-1"))
            if body:
                self._responder.write(body)

    def errReceived(self, data: bytes) -> None:
        """Keep what git complains about."""
        self.errors += data

    def _start(self, head: str) -> None:
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in head.split("\r\n"))]
        status = next((value for name, value in headers if name.lower() == "status"), "200")
        self._responder.start(int(status.split()[0]), [one for one in headers if one[0].lower() != "status"])

    def processEnded(self, reason: Failure) -> None:
        """End the response; without headers git has crashed."""
        self._ended = True
        if not self._responder.lost:
            self._request.unregisterProducer()
            if self._head is not None:
                self._responder.start(500, [("Content-Type", "text/plain")])
                self._responder.write(self.errors or b"git http-backend said nothing\n")
            self._responder.finish()
        self.done.callback(None)


def git_environment(home: os.PathLike[str], config: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a git process that sees no configuration but this one.

    :param home: an existing directory.
    :param config: git settings by name.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.fspath(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for number, (name, value) in enumerate(config.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment
