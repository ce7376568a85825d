"""What ``git-http-backend`` answers: the header that CGI programs write (RFC 3875, section 6), and the body after it.

What upload-pack says first can be looked at before a byte is sent, so a mirror that lacks an object never tells that to
a client whom the upstream would have served.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from cachew.plumbing.child import Child
from cachew.plumbing.errors import BadRequest, ProcessFailed
from cachew.plumbing.streams import PIECE, owned

MAX_HEADER = 16 * 1024
"""The longest header that is accepted, in bytes."""
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_END = re.compile(rb"\r?\n\r?\n")
_ERROR = b"ERR "
_FLUSH = b"0000"
_SHALLOW_INFO = b"0011shallow-info\n"


@dataclass(frozen=True)
class CgiHead:
    """A complete header.

    :param status: the HTTP status; 200 when the program names none.
    :param headers: all other fields, names in lower case.
    :param rest: what has come of the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    rest: bytes


class HeadParser:
    """Reads a header from pieces (pure)."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> CgiHead | None:
        """Take a piece and return the header once it is complete.

        :raise BadRequest: when it is malformed or too long.
        """
        self._data += data
        end = _END.search(self._data)
        if (end.start() if end else len(self._data)) > MAX_HEADER:
            raise BadRequest("the header of the program is too long")
        if end is None:
            return None
        fields = [_field(line) for line in re.split(rb"\r?\n", self._data[: end.start()])]
        status = next((value for name, value in fields if name == "status"), "200")
        if not re.fullmatch(r"[2-5][0-9][0-9]( .*)?", status):
            raise BadRequest(f"the program answered with status {status[:20]!r}")
        headers = tuple(field for field in fields if field[0] != "status")
        return CgiHead(int(status[:3]), headers, self._data[end.end() :])


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadRequest(f"the program wrote a bad header line {line[:80]!r}")
    return match[1].decode("ascii").lower(), match[2].decode("latin-1")


class BackendBody:
    """The body of a backend's answer: a source whose beginning can be looked at first.

    :param child: whose output it is.
    :param rest: what of the body has been read with the header.
    """

    def __init__(self, *, child: Child, rest: bytes) -> None:
        self._child = child
        self._ready = rest
        self._start = rest[:8]
        self._closed = False

    async def peek(self, size: int) -> bytes:
        """Return the first ``size`` bytes, or all when there are fewer, and leave them to be read.

        :raise ProcessFailed: when the backend failed before it had written anything.
        """
        while len(self._ready) < size and (data := await self._next(PIECE)):
            self._ready += data
        return self._ready[:size]

    async def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raise ProcessFailed: instead of the end, when the backend failed and has not said so in git's own words.
        """
        if self._closed:
            return b""
        data = self._ready or await self._next(size)
        self._ready = data[size:]
        return data[:size]

    def divert(self, into: Callable[[int], int]) -> bytes:
        """Have the rest taken out of the backend's pipe; see :class:`~cachew.plumbing.production.PipedSource`."""
        ready, self._ready = self._ready, b""
        return ready + self._child.output.divert(into)

    async def _next(self, size: int) -> bytes:
        try:
            data = await self._child.stdout.read(size)
        except ProcessFailed:
            if self._start[4:] == _ERROR:
                return b""
            raise
        self._start = (self._start + data[:8])[:8]
        return data

    def close(self) -> None:
        """Give up: the backend is ended, with all that it has started."""
        self._closed, self._ready = True, b""
        self._child.stdout.close()


@dataclass(frozen=True)
class BackendResponse:
    """What a backend answers.

    :param status: the HTTP status.
    :param headers: its headers, names in lower case.
    :param source: its body; must be read to the end or closed.
    :param child: the process.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    source: BackendBody
    child: Child

    async def refusal(self) -> str | None:
        """Say why upload-pack does not serve the request, before anything of its answer is used.

        :return: its reason (``not our ref …``), or None when it serves.
        """
        if self.status != 200:
            return f"status {self.status}"
        try:
            first = await self.source.peek(4)
            if first == _FLUSH:
                # Protocol v0 lists what a depth cuts off before all else, and often that is nothing.
                return None
            packet = await self.source.peek(int(first, 16)) if first else b""
            if packet == _SHALLOW_INFO:
                # It says so before it looks for commits, and dies when there are none.
                await self.source.peek(len(packet) + 4)
        except (ProcessFailed, ValueError) as failure:
            return str(failure)
        if not packet:
            return "an empty answer"
        return packet[8:].decode("utf-8", "replace").strip() if packet[4:8] == _ERROR else None


async def response_of(child: Child) -> BackendResponse:
    """Return what a backend answers as soon as its header is there; until then a failure ends the backend.

    :raise ProcessFailed: when it ends before its header is complete, or writes a bad one.
    """
    with owned(child.stdout):
        head = await _head(child)
    return BackendResponse(head.status, head.headers, BackendBody(child=child, rest=head.rest), child)


async def _head(child: Child) -> CgiHead:
    parser = HeadParser()
    head = None
    try:
        while head is None and (data := await child.stdout.read(PIECE)):
            head = parser.feed(data)
    except BadRequest as failure:
        raise ProcessFailed(child.command.name, None, str(failure)) from failure
    if head is None:
        raise ProcessFailed(child.command.name, 0, "it ended before its header")
    return head
