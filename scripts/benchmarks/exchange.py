"""One recorded HTTP request and what makes its answer complete (pure)."""

import gzip
from dataclasses import dataclass, replace

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, decode, encode_all

_DROPPED = frozenset({"host", "connection", "content-length", "accept-encoding", "expect", "proxy-connection"})


@dataclass(frozen=True)
class Exchange:
    """A request as git sent it.

    :param path: what followed the repository's address, with the query.
    :param headers: without those that belong to the connection.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def render(self, *, address: str, base: str, last: bool) -> bytes:
        """Return the bytes to send.

        :param address: ``host:port``.
        :param base: the repository's path on that server.
        :param last: whether the connection ends with the answer.
        """
        lines = [f"{self.method} {base}{self.path} HTTP/1.1", f"Host: {address}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method == "POST":
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append(f"Connection: {'close' if last else 'keep-alive'}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def recorded(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Exchange:
    """Return an exchange from what a client sent; a compressed body is kept as it was before compression."""
    zipped = any(name.lower() == "content-encoding" and "gzip" in value for name, value in headers)
    dropped = _DROPPED | ({"content-encoding"} if zipped else set())
    kept = tuple((name, value) for name, value in headers if name.lower() not in dropped)
    return Exchange(method, path, kept, gzip.decompress(body) if zipped else body)


def is_fetch(exchange: Exchange) -> bool:
    """Return whether this is a v2 ``fetch``."""
    return b"command=fetch" in exchange.body[:200]


def made_new(exchange: Exchange, oid: str) -> Exchange:
    """Return a fetch that no cache has seen: the client claims to have one more object, which no server knows.

    The answer is the same, because servers leave out of account what they don't know (gitprotocol-v2(5)).

    :param oid: a made-up object id.
    """
    packets: list[Packet] = list(decode(exchange.body))
    at = next(index for index, packet in enumerate(packets) if packet is DELIM)
    while not _closes(packets[at]):
        at += 1
    packets.insert(at, f"have {oid}\n".encode())
    return replace(exchange, body=encode_all(packets))


def _closes(packet: Packet) -> bool:
    return packet.startswith(b"done") if isinstance(packet, bytes) else packet is FLUSH


@dataclass(frozen=True)
class Head:
    """The head of a response.

    :param length: what ``Content-Length`` says.
    """

    status: int
    length: int | None
    chunked: bool


def parse_head(data: bytes) -> Head:
    """Read a response's head.

    :raise ValueError: when it isn't HTTP.
    """
    first, *lines = data.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not first.startswith("HTTP/1."):
        raise ValueError(f"not HTTP: {first[:80]!r}")
    length = fields.get("content-length")
    chunked = "chunked" in fields.get("transfer-encoding", "")
    return Head(int(first.split()[1]), None if length is None else int(length), chunked)


def dechunked(data: bytes) -> tuple[bytes, int] | None:
    """Return the body in a chunked response and where it ends, or None while its end hasn't come.

    :raise ValueError: when it is malformed.
    """
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].split(b";")[0], 16)
        at = end + 2 + size + 2
        if len(data) < at:
            return None
        if not size:
            return b"".join(pieces), at
        pieces.append(data[end + 2 : end + 2 + size])
    return None


def complete(head: Head, received: int, tail: bytes) -> bool:
    """Return whether a response that ended with its connection is whole.

    :param received: bytes of its body, as sent.
    :param tail: its last bytes, at least eight.
    """
    if head.length is not None:
        return received == head.length
    return tail.endswith(b"0\r\n\r\n") if head.chunked else True
