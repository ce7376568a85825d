"""What a git client asks for in the body of ``POST …/git-upload-pack`` (pure).

Protocol v2 names its command (gitprotocol-v2(5)); v0 and v1 send wants and haves (gitprotocol-pack(5)). Both are read
into one of a few frozen commands, strictly: what would not mean the same to ``upload-pack`` is refused, because the
same parse decides where a request goes and under which key its answer is kept. It is read packet by packet, and what is
kept of it is little beside the body: a request of a million lines is no more than its ids and two digests.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, Decoder, Packet, Special, text
from cachew.smarthttp.clientcommands import GitCommand, Oids, Probe, V0Request, V2Fetch, V2LsRefs, V2Other

_OID = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
_VERSION = re.compile(r"version=([0-9])")
_MOST_CAPABILITIES = 256
_MOST_WANT_REFS = 1_000_000
_LIMITS = ("filter", "deepen", "deepen-since")
_MOST_FEATURES = 64
_MOST_EXCLUDED = 1000
"""Refs of ``deepen-not``."""
_MOST_HAD = 32
"""Haves that are remembered: as many as a client sends at first."""
TOO_MANY_PREFIXES = 65_536
"""From so many prefixes of ``ls-refs`` on they are ignored and every ref is listed, as git does it in its ls-refs.c."""
_PREFIX_BYTES = 4 * 1024 * 1024
"""Bytes of prefixes above which the same is done."""
_MOST_UNKNOWN = 64
"""Arguments of ``ls-refs`` that are not known here."""


def protocol_version(header: str | None) -> int:
    """Return the version that a ``Git-Protocol`` header asks for.

    :param header: colon-separated keys, of which the highest known ``version`` counts.
    :return: 0, 1 or 2.
    """
    matches = (_VERSION.fullmatch(part) for part in (header or "").split(":"))
    versions = [int(match[1]) for match in matches if match]
    return max((version for version in versions if version <= 2), default=0)


def read_command(body: Iterable[bytes], protocol: str | None) -> GitCommand:
    """Read a request body.

    :param body: the whole body in pieces, without content encoding.
    :param protocol: the ``Git-Protocol`` header.
    :raise BadRequest: when it is malformed.
    """
    packets = _packets(body)
    first = next(packets, None)
    if first is None:
        raise BadRequest("the request is empty")
    if first is FLUSH and next(packets, None) is None:
        return Probe()
    read = _read_v2 if protocol_version(protocol) == 2 else _read_v0
    return read(first, packets)


def _packets(body: Iterable[bytes]) -> Iterator[Packet]:
    decoder = Decoder()
    for piece in body:
        yield from decoder.feed(piece)
    if decoder.rest:
        raise BadRequest("the message ends within a pkt-line")


def _line(packet: Packet) -> str:
    return text(packet).decode("utf-8", "surrogateescape")


def _oid(word: str) -> str:
    if not _OID.fullmatch(word):
        raise BadRequest(f"bad object id {word[:80]!r}")
    return word.lower()


# --- protocol v2 ------------------------------------------------------------------------------------------------------


def _read_v2(first: Packet, packets: Iterator[Packet]) -> GitCommand:
    capabilities, delimited = _capabilities(first, packets)
    commands = [line.removeprefix("command=") for line in capabilities if line.startswith("command=")]
    if len(commands) != 1:
        raise BadRequest("a v2 request names one command")
    capabilities = [line for line in capabilities if not line.startswith("command=")]
    arguments = _arguments(packets) if delimited else iter(())
    command = _command(commands[0], capabilities, arguments)
    if next(packets, None) is not None:
        raise _not_one_command()
    return command


def _not_one_command() -> BadRequest:
    return BadRequest("a v2 request is one command that ends with a flush packet")


def _capabilities(packet: Packet | None, packets: Iterator[Packet]) -> tuple[list[str], bool]:
    """Read what precedes the arguments.

    :return: the lines, and whether arguments follow.
    """
    lines: list[str] = []
    while packet is not FLUSH and packet is not DELIM:
        if packet is None:
            raise _not_one_command()
        if len(lines) >= _MOST_CAPABILITIES:
            raise BadRequest(f"there are more than {_MOST_CAPABILITIES} capabilities")
        lines.append(_line(packet))
        packet = next(packets, None)
    return lines, packet is DELIM


def _arguments(packets: Iterator[Packet]) -> Iterator[str]:
    for packet in packets:
        if packet is FLUSH:
            return
        yield _line(packet)
    raise _not_one_command()


def _command(name: str, capabilities: list[str], arguments: Iterator[str]) -> GitCommand:
    if name == "ls-refs":
        return _ls_refs(capabilities, arguments)
    if name == "fetch":
        return _fetch(capabilities, arguments)
    for _ in arguments:
        pass
    return V2Other(name)


def _value(capabilities: Iterable[str], name: str) -> str | None:
    for capability in capabilities:
        key, equals, value = capability.partition("=")
        if key == name and equals:
            return value
    return None


def _ls_refs(capabilities: list[str], arguments: Iterator[str]) -> V2LsRefs:
    flags: set[str] = set()
    prefixes: list[str] = []
    unknown: list[str] = []
    count = size = 0
    for line in arguments:
        if line.startswith("ref-prefix "):
            count, size = count + 1, size + len(line)
            if count < TOO_MANY_PREFIXES and size <= _PREFIX_BYTES:
                prefixes.append(line.removeprefix("ref-prefix "))
        elif line in ("symrefs", "peel", "unborn"):
            flags.add(line)
        elif len(unknown) < _MOST_UNKNOWN:
            unknown.append(line)
        else:
            raise BadRequest(f"there are more than {_MOST_UNKNOWN} unknown arguments")
    return V2LsRefs(
        # With some of them left out, the others would leave out refs that were asked for.
        prefixes=tuple(prefixes) if len(prefixes) == count else (),
        symrefs="symrefs" in flags,
        peel="peel" in flags,
        unborn="unborn" in flags,
        agent=_value(capabilities, "agent"),
        object_format=_value(capabilities, "object-format") or "sha1",
        unknown=tuple(unknown),
    )


class _Lines:
    """Sorts the lines of a fetch into wants, haves and the rest.

    :param shaping: the capabilities that shape the answer.
    """

    def __init__(self, shaping: Iterable[str]) -> None:
        self.wants = Oids()
        self.haves = 0
        self.had: list[str] = []
        self.features: set[str] = set()
        self.not_after: list[str] = []
        self.done = False
        self.limits: dict[str, str] = {}
        self._shape = sha256()
        for line in shaping:
            self._shapes(line)

    def take(self, line: str) -> None:
        """Sort one line in.

        :raise BadRequest: when its value is malformed.
        """
        name, _, value = line.partition(" ")
        if name == "want":
            self.wants.append(_oid(value))
            return
        if name == "have":
            self.haves += 1
            oid = _oid(value)
            if self.haves <= _MOST_HAD:
                self.had.append(oid)
        elif line == "done":
            self.done = True
        else:
            self._take_feature(name, value)
        self._shapes(line)

    def _shapes(self, line: str) -> None:
        data = line.encode("utf-8", "surrogateescape")
        self._shape.update(b"%d " % len(data) + data)

    def _take_feature(self, name: str, value: str) -> None:
        self.features.add(name)
        if name in _LIMITS:
            self.limits[name] = value
        if name == "deepen-not":
            self.not_after.append(value)
        elif name == "shallow":
            _oid(value)
        elif name in ("deepen", "deepen-since") and not (value.isascii() and value.isdigit()):
            raise BadRequest(f"bad number {value[:80]!r}")
        if len(self.features) > _MOST_FEATURES or len(self.not_after) > _MOST_EXCLUDED:
            raise BadRequest("the request asks for more than any client does")

    def fields(self) -> dict[str, Any]:
        """The fields that both protocols' commands have."""
        return {
            "wants": self.wants,
            "haves": self.haves,
            "had": tuple(self.had) if self.haves <= _MOST_HAD else (),
            "done": self.done,
            "features": frozenset(self.features),
            "not_after": tuple(self.not_after),
            "wanted": self.wants.digest(),
            "shape": self._shape.hexdigest(),
            "limits": tuple(self.limits.items()),
        }


def _fetch(capabilities: list[str], arguments: Iterator[str]) -> V2Fetch:
    lines, want_refs = _Lines(_shaping(capabilities)), dict[str, None]()
    for line in arguments:
        if line.startswith("want-ref "):
            want_refs[line.removeprefix("want-ref ")] = None
            if len(want_refs) > _MOST_WANT_REFS:
                raise BadRequest(f"more than {_MOST_WANT_REFS} refs are wanted by name")
        else:
            lines.take(line)
    object_format = _value(capabilities, "object-format") or "sha1"
    return V2Fetch(**lines.fields(), object_format=object_format, want_refs=tuple(want_refs))


def _shaping(capabilities: Iterable[str]) -> list[str]:
    """Drop the capabilities that only tell who asks."""
    return [line for line in capabilities if line.partition("=")[0] not in ("agent", "session-id")]


# --- protocols v0 and v1 ----------------------------------------------------------------------------------------------


def _read_v0(packet: Packet | None, packets: Iterator[Packet]) -> GitCommand:
    line = "" if packet is None or isinstance(packet, Special) else _line(packet)
    if not line.startswith("want "):
        raise BadRequest("a request begins with a want line")
    first, _, words = line.removeprefix("want ").partition(" ")
    capabilities = [word for word in words.split(" ") if word]
    shaping = _shaping(capabilities)
    lines = _Lines((" ".join(shaping),))
    lines.take(f"want {first}")
    while (packet := next(packets, None)) is not None and packet is not FLUSH:
        lines.take(_line(packet))
    for line in _negotiation(packets):
        lines.take(line)
    fields = lines.fields()
    fields["features"] |= {word.partition("=")[0] for word in capabilities}
    return V0Request(
        **fields,
        # Git's clients don't say it in v0; the ids do.
        object_format=_value(capabilities, "object-format") or ("sha256" if len(first) == 64 else "sha1"),
        capabilities=frozenset(capabilities),
    )


def _negotiation(packets: Iterator[Packet]) -> Iterator[str]:
    """Give the lines after the wants; flush packets between batches of haves say nothing to a stateless server."""
    for packet in packets:
        if packet is FLUSH:
            continue
        if isinstance(packet, Special):
            raise BadRequest("unexpected delimiter packet")
        line = _line(packet)
        if line != "done" and not line.startswith("have "):
            raise BadRequest(f"unexpected line {line[:80]!r} after the wants")
        yield line
        if line == "done":
            break
    if next(packets, FLUSH) is not FLUSH:
        raise BadRequest("data after the end of the request")
