"""What an upstream says its refs are (pure).

Here are the refs themselves and the `ls-refs` response of protocol v2; :mod:`cachew.upstream.advertisement` reads what
`info/refs` answers. The parsers take packets one by one, so that a listing of half a million refs is read while it
arrives. A listing that ends before its flush packet is refused: a ref that is merely missing would look deleted. See
gitprotocol-v2(5).
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from cachew.plumbing.errors import CachewError
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, Special, encode_all
from cachew.upstream.manyrefs import MANY, ManyRefs
from cachew.upstream.refviews import OidsOfRefs, RefsByName
from cachew.upstream.remoteref import RemoteRef as RemoteRef
from cachew.upstream.remoteref import text_of as text_of


class Prefixes:
    """A set of prefixes.

    In order, and without those that others imply, only the last one that is not beyond a name can be its beginning:
    whatever stands between a prefix and a name that it begins, begins with that prefix too.

    :param prefixes: in any order.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._sorted: list[str] = []
        for prefix in sorted(set(prefixes)):
            if not self._sorted or not prefix.startswith(self._sorted[-1]):
                self._sorted.append(prefix)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted)

    def match(self, name: str) -> bool:
        """Say whether a name begins with one of them."""
        position = bisect_right(self._sorted, name)
        return position > 0 and name.startswith(self._sorted[position - 1])


T = TypeVar("T")

AGENT = "git/2.39.5-cachew"
"""How cachew names itself within protocol v2 (gitprotocol-v2(5), "agent")."""

REF_NAME = rb"[^\x00-\x20\x7f~^:?*\[\\]+"
_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}|unborn) (" + REF_NAME + rb")((?: [^ ]+)*)")
_FUNNY = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64}) refs/.+", re.DOTALL)
_FORMATS = {"sha1": 40, "sha256": 64}


class MalformedListing(CachewError):
    """What the upstream sent is not a listing, or not all of one."""


class NotGit(MalformedListing):
    """What the upstream sent is of another kind altogether."""


class RemoteError(CachewError):
    """The upstream sent an ``ERR`` packet.

    :param message: its text, printable and short.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Listing:
    """The refs of an upstream at one moment, in the upstream's order.

    :param refs: the refs; :class:`~cachew.upstream.manyrefs.ManyRefs` where they are very many.
    :param object_format: ``sha1`` or ``sha256``.
    :param protocol: the version of the protocol that told them.
    :param base: where the repository has moved to, empty where it is at its own address.
    """

    refs: Sequence[RemoteRef]
    object_format: str = "sha1"
    protocol: int = 2
    base: str = field(default="", compare=False)

    @cached_property
    def by_name(self) -> Mapping[str, RemoteRef]:
        """The refs by full name."""
        if isinstance(self.refs, ManyRefs):
            return RefsByName(self.refs)
        return {ref.name: ref for ref in self.refs}

    @cached_property
    def _oids(self) -> Set[str]:
        if isinstance(self.refs, ManyRefs):
            return OidsOfRefs(self.refs)
        found = {ref.oid for ref in self.refs} | {ref.peeled for ref in self.refs}
        return frozenset(oid for oid in found if oid is not None)

    def oids(self) -> Set[str]:
        """Return every object id in the listing, those of peeled tags too."""
        return self._oids

    def once(self, make: "Callable[[Listing], T]") -> T:
        """Return what a function makes of this listing, made at the first time: many ask for the same of many refs."""
        made: dict[object, T] = self.__dict__.setdefault("_made", {})
        if make not in made:
            made[make] = make(self)
        return made[make]

    def derived(self, by_name: Mapping[str, RemoteRef], made: "Mapping[Callable[[Listing], Any], Any]") -> None:
        """Take over what is known of it already, because it hardly differs from another one.

        :param by_name: the refs by full name.
        :param made: what :meth:`once` gives for functions.
        """
        self.__dict__["by_name"] = by_name
        self.__dict__["_made"] = dict(made)

    @property
    def head_oid(self) -> str | None:
        """The commit that ``HEAD`` names."""
        head = self.by_name.get("HEAD")
        return None if head is None else head.oid

    @cached_property
    def empty(self) -> bool:
        """Whether the repository has no ref that names an object."""
        return not self._oids

    def filtered(self, prefixes: Iterable[str] | None) -> "Listing":
        """Return the refs whose names begin with one of ``prefixes``; all of them for None or none."""
        wanted = tuple(prefixes or ())
        if not wanted:
            return self
        kept = Prefixes(wanted)
        if isinstance(self.refs, ManyRefs):
            some = self.refs.within(kept)
            return self if some is self.refs else replace(self, refs=some if len(some) >= MANY else tuple(some))
        match = kept.match
        refs = tuple(ref for ref in self.refs if match(ref.name))
        return self if len(refs) == len(self.refs) else replace(self, refs=refs)


@dataclass(frozen=True)
class Capabilities:
    """What an upstream's advertisement says it can do.

    :param features: each capability with its value, None when it has none.
    :param protocol: 2, 1 or 0.
    :param base_url: where its repository is after redirects; empty when the parser made this.
    :param dumb: whether it serves nothing but a repository's files.
    """

    features: Mapping[str, str | None] = field(default_factory=dict)
    protocol: int = 2
    base_url: str = ""
    dumb: bool = False

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``."""
        return self.features.get("object-format") or "sha1"

    def supports(self, command: str, feature: str) -> bool:
        """Whether ``command`` is offered with ``feature`` among its values."""
        return feature in (self.features.get(command) or "").split()


def ls_refs_request(capabilities: Capabilities, prefixes: Iterable[str] | None) -> bytes:
    """Return the body of an ``ls-refs`` command.

    :param capabilities: the upstream's; only what it offers is asked for.
    :param prefixes: ref prefixes that bound the answer; None asks for all refs.
    """
    packets: list[Packet] = [b"command=ls-refs\n"]
    if "agent" in capabilities.features:
        packets.append(f"agent={AGENT}\n".encode())
    if "object-format" in capabilities.features:
        packets.append(f"object-format={capabilities.object_format}\n".encode())
    packets += [DELIM, b"peel\n", b"symrefs\n"]
    if capabilities.supports("ls-refs", "unborn"):
        packets.append(b"unborn\n")
    packets += [b"ref-prefix %b\n" % prefix.encode("utf-8", "surrogateescape") for prefix in prefixes or ()]
    return encode_all([*packets, FLUSH])


class LsRefsParser:
    """Reads an ``ls-refs`` response, packet by packet.

    :param object_format: what the upstream's capabilities said.
    """

    def __init__(self, object_format: str = "sha1") -> None:
        self._format = object_format
        self._width = oid_width(object_format)
        self.refs: list[RemoteRef] = []
        self.done = False

    def take(self, packet: Packet) -> None:
        """Take the next packet.

        :raise MalformedListing: when it has no place here.
        :raise RemoteError: when it is an ``ERR`` packet.
        """
        if self.done:
            raise MalformedListing("more after the end of the ref listing")
        if packet is FLUSH:
            self.done = True
            return
        line = payload_of(packet)
        match = _LINE.fullmatch(line)
        if match is not None:
            self.refs.append(self._ref(*match.groups()))
        elif not is_funny(line):
            raise MalformedListing(f"bad line in the ref listing: {printable(line)}")

    def _ref(self, oid: bytes, name: bytes, attributes: bytes) -> RemoteRef:
        unborn = oid == b"unborn"
        if not unborn and len(oid) != self._width:
            raise MalformedListing(f"an object id of {len(oid)} digits in a {self._format} listing")
        target = peeled = None
        if attributes:
            for attribute in attributes.split():
                key, _, value = attribute.partition(b":")
                if key == b"symref-target":
                    target = text_of(value)
                elif key == b"peeled" and len(value) == self._width:
                    peeled = text_of(value)
        return RemoteRef(text_of(name), None if unborn else oid.decode("ascii"), target, peeled)

    def result(self) -> Listing:
        """Return the listing.

        :raise MalformedListing: when it has not come to its end.
        """
        if not self.done:
            raise MalformedListing("the ref listing broke off")
        return Listing(each_once(self.refs), self._format, 2)


def each_once(refs: Sequence[RemoteRef]) -> tuple[RemoteRef, ...]:
    """Return refs without those that are told again later: what counts of a name is what was said of it last."""
    by_name = {ref.name: ref for ref in refs}
    return tuple(refs) if len(by_name) == len(refs) else tuple(by_name.values())


def payload_of(packet: Packet) -> bytes:
    """Return a packet's line without its newline.

    :raise MalformedListing: for a special packet.
    :raise RemoteError: for an ``ERR`` packet.
    """
    if isinstance(packet, Special):
        raise MalformedListing("an unexpected special packet")
    if packet.startswith(b"ERR "):
        raise RemoteError(printable(packet[4:].strip()))
    return packet[:-1] if packet.endswith(b"\n") else packet


def is_funny(line: bytes) -> bool:
    """Whether a line tells of a ref whose name git doesn't take.

    git leaves such a ref out and goes on with the others ("Ignoring funny ref"), so it must not keep them from anybody.
    """
    return _FUNNY.fullmatch(line) is not None


def oid_width(object_format: str) -> int:
    """Return how many hex digits an object id has.

    :raise MalformedListing: when the format is unknown.
    """
    if object_format not in _FORMATS:
        raise MalformedListing(f"unknown object format {object_format[:20]!r}")
    return _FORMATS[object_format]


def printable(data: bytes) -> str:
    """Return the start of an upstream's words in a form fit for messages."""
    return "".join(c if c.isprintable() else "?" for c in data[:200].decode("utf-8", "replace"))
