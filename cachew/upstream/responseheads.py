"""The heads of upstreams' answers, read as generously as git's own HTTP library reads them.

libcurl takes header lines of up to 100 KiB, heads of up to 300 KiB (its ``CURL_MAX_HTTP_HEADER`` and
``MAX_HTTP_RESP_HEADER_SIZE``), headers with names that are none, and bodies that are compressed for the transfer
(RFC 9112, section 7); what git can clone directly has to come through here too. Twisted's own parser gives up at
16 KiB and knows no transfer coding but ``chunked``.
"""

import re
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol, HTTPClientParser, ParseError, Request
from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http import MULTIPLE_CHOICE, NON_AUTHORITATIVE_INFORMATION, OK
from twisted.web.iweb import IResponse

_LONGEST_LINE = 100 * 1024
_LARGEST_HEAD = 300 * 1024
_MOST_INTERIM = 20
"""Interim answers (status 1xx) before the one that counts."""
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENCODING = b"transfer-encoding"


class UnreadableHead(Exception):
    """An answer's head can't be made sense of."""


class GenerousParser(HTTPClientParser):
    """Reads one answer."""

    MAX_LENGTH = _LONGEST_LINE
    _head_size = 0
    _interim = 0
    refused: Callable[[], object] = staticmethod(lambda: None)
    """Called when an answer begins for which nothing more of the request is needed."""

    def lineLengthExceeded(self, line: bytes) -> None:
        """Give up, and say why."""
        raise UnreadableHead(f"its answer has a header line of more than {_LONGEST_LINE // 1024} KiB")

    def lineReceived(self, line: bytes) -> None:
        """Take the next line of the head.

        :raise UnreadableHead: when there are too many, or it is none.
        """
        self._head_size += len(line) + 2
        if self._head_size > _LARGEST_HEAD:
            raise UnreadableHead(f"its answer has a head of more than {_LARGEST_HEAD // 1024} KiB")
        try:
            super().lineReceived(line)
        except (ValueError, ParseError) as error:
            raise UnreadableHead("its answer is no HTTP") from error

    def statusReceived(self, status: bytes) -> None:
        """Take the status; a proxy that changes an answer makes 203 of 200 (RFC 9110, section 15.3.4), as git knows."""
        super().statusReceived(status)
        if self.response.code == NON_AUTHORITATIVE_INFORMATION:
            self.response.code = OK

    def headerReceived(self, name: bytes, value: bytes) -> None:
        """Take a header, unless its name is none."""
        if _NAME.fullmatch(name):
            super().headerReceived(name, value)

    def allHeadersReceived(self) -> None:
        """Take what was compressed for the transfer for compressed content: it is undone all the same.

        :raise UnreadableHead: when it isn't known where the body ends, or interim answers come without end.
        """
        if 100 <= self.response.code < 200:
            self._skip_interim()
            return
        given = b",".join(self.connHeaders.getRawHeaders(_ENCODING, [])).lower().split(b",")
        *compressed, last = [coding.strip() for coding in given if coding.strip() not in (b"", b"identity")] or [b""]
        self.connHeaders.removeHeader(_ENCODING)
        if last == b"chunked":
            self.connHeaders.addRawHeader(_ENCODING, last)
        elif last:
            raise UnreadableHead(f"its answer is sent in a coding that is not understood: {last[:40]!r}")
        for coding in compressed:
            self.headers.addRawHeader(b"content-encoding", coding)
        if self.response.code >= MULTIPLE_CHOICE:
            self.refused()
        super().allHeadersReceived()

    def _skip_interim(self) -> None:
        """Pass over an interim answer, as Twisted does, but with no line in the log for each."""
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise UnreadableHead(f"more than {_MOST_INTERIM} interim answers came before its answer")
        self.connectionMade()
        del self.response


class GenerousProtocol(HTTP11ClientProtocol):
    """A connection whose answers are read so; a refusal is taken though the request hasn't been sent whole.

    Whoever refuses a push of gigabytes after its first bytes takes no more of it (RFC 9112, section 9.5), and Twisted
    would read the rest of his answer only then.
    """

    transport: Any
    _currentRequest: Any
    _broken_off = False

    def request(self, request: Request) -> "Deferred[IResponse]":
        """Send a request."""
        answered: Deferred[IResponse] = super().request(request)
        if type(self._parser) is HTTPClientParser:
            # It has read nothing yet.
            self._parser.__class__ = GenerousParser
            cast(Any, self._parser).refused = self._send_no_more
        return answered

    def _send_no_more(self) -> None:
        """Take the answer as if all of the request had been sent."""
        if self._state != "TRANSMITTING":
            return
        self._state, self._broken_off = "WAITING", True
        self._currentRequest.persistent = False
        self._currentRequest.stopWriting()
        self.transport.unregisterProducer()
        cast(Any, self._responseDeferred).chainDeferred(self._finishedRequest)

    def _finishResponse_TRANSMITTING(self, rest: bytes) -> None:
        """Take an answer that is whole before its request is."""
        self._send_no_more()
        self._finishResponse_WAITING(rest)

    def _giveUp(self, reason: Failure) -> None:
        """Close the connection, at once if there is something that was still to be sent."""
        if self._broken_off:
            self.transport.abortConnection()
        super()._giveUp(reason)


class _Factory(_HTTP11ClientFactory):
    noisy = False

    def buildProtocol(self, addr: object) -> GenerousProtocol:
        return GenerousProtocol(self._quiescentCallback)


class GenerousPool(HTTPConnectionPool):
    """Connections whose answers are read so."""

    _factory = _Factory
