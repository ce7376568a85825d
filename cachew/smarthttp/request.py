"""What a git client asks for in the body of ``POST …/git-upload-pack`` (pure).

Protocol v2 names its command (gitprotocol-v2(5)); v0 and v1 send wants and haves (gitprotocol-pack(5)). Both are read
into one of a few frozen commands, strictly: what would not mean the same to ``upload-pack`` is refused, because the
same parse decides where a request goes and under which key its answer is kept.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from cachew.mirrors.kinds import bounded
from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, Special, decode, text

_OID = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
_VERSION = re.compile(r"version=([0-9])")


@dataclass(frozen=True)
class Probe:
    """A lone flush packet, which git sends ahead of a large request; its answer is empty."""


@dataclass(frozen=True)
class V2LsRefs:
    """``ls-refs``: the ref listing, hence the gate of freshness.

    :param prefixes: ``ref-prefix`` arguments; empty means every ref.
    :param unknown: arguments that are not known here.
    """

    prefixes: tuple[str, ...] = ()
    symrefs: bool = False
    peel: bool = False
    unborn: bool = False
    agent: str | None = None
    object_format: str = "sha1"
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class V2Fetch:
    """``fetch``: objects.

    :param wants: object ids, in the client's order.
    :param haves: what the client says it has; such a request without ``done`` is a round of negotiation, and is
        answered with a pack only when the server is ready.
    :param features: names of all arguments but ``want``, ``have`` and ``done``.
    :param not_after: the refs of ``deepen-not``.
    :param raw: the request as it came.
    :param lines: capabilities and arguments that shape the answer, as they came, without ``want`` lines.
    """

    wants: tuple[str, ...]
    haves: tuple[str, ...]
    done: bool
    features: frozenset[str]
    object_format: str
    not_after: tuple[str, ...]
    raw: bytes = field(repr=False, compare=False)
    lines: tuple[str, ...] = field(repr=False)

    version = 2


@dataclass(frozen=True)
class V2Other:
    """A command that is not read any further (``object-info``, ``bundle-uri``, or one yet to be invented)."""

    name: str


@dataclass(frozen=True)
class V0Request:
    """Wants and haves of protocol v0 or v1.

    :param capabilities: those on the first ``want`` line.
    :param features: names of the capabilities, and of all lines but ``want``, ``have`` and ``done``.
    """

    wants: tuple[str, ...]
    haves: tuple[str, ...]
    done: bool
    features: frozenset[str]
    object_format: str
    not_after: tuple[str, ...]
    raw: bytes = field(repr=False, compare=False)
    lines: tuple[str, ...] = field(repr=False)
    capabilities: frozenset[str] = frozenset()

    version = 0


Fetch = V2Fetch | V0Request
GitCommand = Probe | V2LsRefs | V2Fetch | V2Other | V0Request


def protocol_version(header: str | None) -> int:
    """Return the version that a ``Git-Protocol`` header asks for.

    :param header: colon-separated keys, of which the highest known ``version`` counts.
    :return: 0, 1 or 2.
    """
    matches = (_VERSION.fullmatch(part) for part in (header or "").split(":"))
    versions = [int(match[1]) for match in matches if match]
    return max((version for version in versions if version <= 2), default=0)


def parse_command(body: bytes, protocol: str | None) -> GitCommand:
    """Read a request body.

    :param body: the whole body, without content encoding.
    :param protocol: the ``Git-Protocol`` header.
    :raise BadRequest: when it is malformed.
    """
    packets = decode(body)
    if packets == [FLUSH]:
        return Probe()
    if not packets:
        raise BadRequest("the request is empty")
    return _parse_v2(packets, body) if protocol_version(protocol) == 2 else _parse_v0(packets, body)


def _line(packet: Packet) -> str:
    return text(packet).decode("utf-8", "surrogateescape")


def _oid(word: str) -> str:
    if not _OID.fullmatch(word):
        raise BadRequest(f"bad object id {word[:80]!r}")
    return word.lower()


def _parse_v2(packets: list[Packet], body: bytes) -> GitCommand:
    if packets[-1] is not FLUSH or FLUSH in packets[:-1] or packets.count(DELIM) > 1:
        raise BadRequest("a v2 request is one command that ends with a flush packet")
    split = packets.index(DELIM) if DELIM in packets else len(packets) - 1
    capabilities = [_line(packet) for packet in packets[:split]]
    arguments = [_line(packet) for packet in packets[split + 1 : -1]] if DELIM in packets else []
    commands = [line.removeprefix("command=") for line in capabilities if line.startswith("command=")]
    if len(commands) != 1:
        raise BadRequest("a v2 request names one command")
    capabilities = [line for line in capabilities if not line.startswith("command=")]
    if commands[0] == "ls-refs":
        return _parse_ls_refs(capabilities, arguments)
    if commands[0] == "fetch":
        return _parse_fetch(capabilities, arguments, body)
    return V2Other(commands[0])


def _value(capabilities: Iterable[str], name: str) -> str | None:
    for capability in capabilities:
        key, equals, value = capability.partition("=")
        if key == name and equals:
            return value
    return None


def _parse_ls_refs(capabilities: list[str], arguments: list[str]) -> V2LsRefs:
    flags = {"symrefs", "peel", "unborn"}
    prefixes = [line.removeprefix("ref-prefix ") for line in arguments if line.startswith("ref-prefix ")]
    return V2LsRefs(
        prefixes=bounded(prefixes),
        symrefs="symrefs" in arguments,
        peel="peel" in arguments,
        unborn="unborn" in arguments,
        agent=_value(capabilities, "agent"),
        object_format=_value(capabilities, "object-format") or "sha1",
        unknown=tuple(line for line in arguments if line not in flags and not line.startswith("ref-prefix ")),
    )


class _Lines:
    """Sorts the lines of a fetch into wants, haves and the rest."""

    def __init__(self) -> None:
        self.wants: list[str] = []
        self.haves: list[str] = []
        self.rest: list[str] = []
        self.features: set[str] = set()
        self.not_after: list[str] = []
        self.done = False

    def take(self, line: str) -> None:
        """Sort one line in.

        :raise BadRequest: when its value is malformed.
        """
        name, _, value = line.partition(" ")
        if name == "want":
            self.wants.append(_oid(value))
            return
        if name == "have":
            self.haves.append(_oid(value))
        elif line == "done":
            self.done = True
        else:
            self._take_feature(name, value)
        self.rest.append(line)

    def _take_feature(self, name: str, value: str) -> None:
        self.features.add(name)
        if name == "deepen-not":
            self.not_after.append(value)
        elif name == "shallow":
            _oid(value)
        elif name in ("deepen", "deepen-since") and not (value.isascii() and value.isdigit()):
            raise BadRequest(f"bad number {value[:80]!r}")

    def fields(self) -> dict[str, Any]:
        """The fields that both protocols' commands have."""
        return {
            "wants": tuple(self.wants),
            "haves": tuple(self.haves),
            "done": self.done,
            "features": frozenset(self.features),
            "not_after": tuple(self.not_after),
        }


def _parse_fetch(capabilities: list[str], arguments: list[str], body: bytes) -> V2Fetch:
    lines = _Lines()
    for line in arguments:
        lines.take(line)
    return V2Fetch(
        **lines.fields(),
        object_format=_value(capabilities, "object-format") or "sha1",
        raw=body,
        lines=(*_shaping(capabilities), *lines.rest),
    )


def _shaping(capabilities: Iterable[str]) -> list[str]:
    """Drop the capabilities that only tell who asks."""
    return [line for line in capabilities if line.partition("=")[0] not in ("agent", "session-id")]


def _parse_v0(packets: list[Packet], body: bytes) -> V0Request:
    rest = iter(packets)
    needs = [_line(packet) for packet in takewhile(lambda packet: packet is not FLUSH, rest)]
    if not needs or not needs[0].startswith("want "):
        raise BadRequest("a request begins with a want line")
    first, _, words = needs[0].removeprefix("want ").partition(" ")
    capabilities = words.split()
    lines = _Lines()
    for line in (f"want {first}", *needs[1:]):
        lines.take(line)
    for line in _negotiation(rest):
        lines.take(line)
    fields = lines.fields()
    fields["features"] |= {word.partition("=")[0] for word in capabilities}
    shaping = _shaping(capabilities)
    return V0Request(
        **fields,
        # Git's clients don't say it in v0; the ids do.
        object_format=_value(capabilities, "object-format") or ("sha256" if len(first) == 64 else "sha1"),
        raw=body,
        lines=(" ".join(shaping), *lines.rest),
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
