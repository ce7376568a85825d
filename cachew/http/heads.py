"""Request heads, bytes to meaning, with no leniency (pure).

Two parsers that understand one head differently are what request smuggling and cache poisoning are made of. So a head
that RFC 9112 lets a server refuse is refused here, before a request object exists: line folding, bare line feeds, two
``Host`` or ``Content-Length`` headers, a length beside a transfer coding, any coding but ``chunked``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from cachew.http.limits import Limits

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
_TARGET = re.compile(rb"/[!-~\x80-\xff]*")
"""What git sends of an address that is not percent-encoded; that it is UTF-8 is checked after decoding."""
_BARE_LF = re.compile(rb"(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST = re.compile(rb"(?:(?P<name>[0-9A-Za-z._\-]{1,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_LARGEST = 2**63 - 1
_TLS_HANDSHAKE = b"\x16"


class HeadRefused(Exception):
    """A head that is not served.

    :param status: the status to answer with.
    :param reason: why, in words for the client.
    :param headers: headers of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = tuple(headers)


@dataclass(frozen=True)
class Head:
    """The head of one request.

    :param method: as sent.
    :param target: the path and query exactly as sent, beginning with a slash (absolute form is stripped of its origin).
    :param version: ``HTTP/1.1`` or ``HTTP/1.0``.
    :param headers: in the order sent, names as sent; ``Host`` is the target's when that was in absolute form.
    :param body_length: bytes of the body; 0 when there is none, None when it is chunked.
    :param keep_alive: whether the client lets the connection go on after the answer.
    :param expects_continue: whether it waits for ``100 Continue`` before it sends the body.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body_length: int | None
    keep_alive: bool
    expects_continue: bool


class HeadReader:
    """Collects one head from the pieces in which it comes.

    :param limits: how long it may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._seen = 0
        self._fresh = True
        self.rest = b""

    @property
    def begun(self) -> bool:
        """Whether any of a head has come."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Head | None:
        """Take a piece.

        :return: the head once it is complete (what follows it is in ``rest``), None before.
        :raise HeadRefused: as soon as it is certain that this head will not be served.
        """
        buffer = self._buffer
        buffer += data
        if self._fresh and len(buffer) > 1:
            self._fresh = False
            if buffer.startswith(b"\r\n"):
                del buffer[:2]  # one empty line before a request line is forgiven: RFC 9112, 2.2
                self._seen = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3))
        self._inspect(len(buffer) if end < 0 else end)
        if end < 0:
            return None
        self.rest = bytes(buffer[end + 4 :])
        return parse_head(bytes(buffer[:end]), self._limits)

    def _inspect(self, end: int) -> None:
        """Refuse what more bytes cannot mend."""
        buffer, limits = self._buffer, self._limits
        if buffer.startswith(_TLS_HANDSHAKE):
            # Whoever writes https:// for http:// would wait for as long as a head may take.
            _malformed("this port speaks HTTP without TLS")
        if _BARE_LF.search(buffer, max(0, self._seen - 1), end):
            _malformed("a line does not end with CR LF")
        if end > limits.line and buffer.find(b"\r\n", 0, limits.line + 2) < 0:
            raise HeadRefused(414, f"the request line is longer than {limits.line} bytes")
        if end > limits.head:
            raise HeadRefused(431, f"the headers are longer than {limits.head} bytes")
        self._seen = len(buffer)


def parse_head(block: bytes, limits: Limits) -> Head:
    """Parse a whole head.

    :param block: its lines, without the empty line at the end.
    :raise HeadRefused: with the status that says why.
    """
    first, *lines = block.split(b"\r\n")
    method, target, version = _request_line(first)
    headers = _headers(lines, limits)
    authority, path = _split_target(method, target)
    host = _host(_values(headers, b"host"), authority, version)
    if authority is not None:
        headers = [header for header in headers if header[0].lower() != b"host"] + [(b"Host", host)]
    connection = {token.strip().lower() for value in _values(headers, b"connection") for token in value.split(b",")}
    return Head(
        method=method,
        target=path,
        version=version,
        headers=tuple(headers),
        body_length=_body_length(headers, version),
        keep_alive=version == b"HTTP/1.1" and b"close" not in connection,
        expects_continue=_expects_continue(headers, version),
    )


def _malformed(reason: str) -> NoReturn:
    raise HeadRefused(400, reason)


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):
        _malformed("the request line is malformed")
    method, target, version = parts
    if not (matched := _VERSION.fullmatch(version)):
        _malformed("the request line is malformed")
    if matched[1] != b"1" or matched[2] not in (b"0", b"1"):
        raise HeadRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return method, target, version


def _headers(lines: list[bytes], limits: Limits) -> list[tuple[bytes, bytes]]:
    if len(lines) > limits.headers:
        raise HeadRefused(431, f"there are more than {limits.headers} headers")
    headers = []
    for line in lines:
        if len(line) > limits.line:
            raise HeadRefused(431, f"a header is longer than {limits.line} bytes")
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            _malformed("a header line is malformed")
        if _CONTROL.search(value):
            _malformed("a header value holds a control character")
        headers.append((name, value.strip(b" \t")))
    return headers


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """Take the target apart: RFC 9112, 3.2.

    :return: its authority when it is in absolute form, and its path with the query.
    """
    if method == b"CONNECT" or target == b"*":
        raise HeadRefused(405, "this is no proxy, and only paths are served", [(b"Allow", METHODS)])
    authority = None
    if absolute := _ABSOLUTE.fullmatch(target):
        authority, target = absolute[1], absolute[2]
        target = target if target.startswith(b"/") else b"/" + target
    if not _TARGET.fullmatch(target) or b"#" in target:
        _malformed("the request target is malformed")
    path = target.partition(b"?")[0]
    if _BAD_ESCAPE.search(path):
        _malformed("the path holds a malformed percent escape")
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        _malformed("the path is not UTF-8")
    return authority, target


def _host(values: list[bytes], authority: bytes | None, version: bytes) -> bytes:
    if len(values) > 1 or (not values and version == b"HTTP/1.1"):
        _malformed("there must be one Host header")
    for host in [*values, *([] if authority is None else [authority])]:
        matched = _HOST.fullmatch(host)
        if not matched or not all(0 < len(label) < 64 for label in (matched["name"] or b"ip").rstrip(b".").split(b".")):
            _malformed("the host is malformed")
    return authority if authority is not None else b"".join(values)


def _body_length(headers: list[tuple[bytes, bytes]], version: bytes) -> int | None:
    """Find how the body is framed: RFC 9112, 6."""
    lengths, codings = _values(headers, b"content-length"), _values(headers, b"transfer-encoding")
    if codings:
        if lengths or version == b"HTTP/1.0":
            _malformed("the length of the body is ambiguous")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            _malformed("the only transfer coding understood is chunked")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > _LARGEST:
        _malformed("the Content-Length is malformed")
    return int(lengths[0])


def _expects_continue(headers: list[tuple[bytes, bytes]], version: bytes) -> bool:
    expectations = _values(headers, b"expect")
    if any(value.lower() != b"100-continue" for value in expectations):
        raise HeadRefused(417, "the only expectation understood is 100-continue")
    return bool(expectations) and version == b"HTTP/1.1"
