"""What an upstream has that speaks git's dumb protocol: it serves a repository's files as they are (pure).

``info/refs`` names the refs and what tags peel to, one a line; ``HEAD`` says where HEAD is. There are no capabilities:
whoever fetches asks for files. See gitprotocol-http(5), "Dumb Server Response", and gitrepository-layout(5).
"""

import re

from cachew.upstream.listing import (
    REF_NAME,
    Capabilities,
    Listing,
    NotGit,
    RemoteRef,
    each_once,
    is_funny,
    printable,
    text_of,
)

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\t(" + REF_NAME + rb")(\^\{\})?")
_HEAD = re.compile(rb"ref:\s*(refs/" + REF_NAME + rb")\s*|([0-9a-f]{40}|[0-9a-f]{64})\s*")
_LONGEST_LINE = 8 * 1024
DUMB = Capabilities(protocol=0, dumb=True)
"""What such an upstream speaks."""


def begins_dumb(body: bytes) -> bool:
    """Say whether an answer to ``GET info/refs`` begins as such an upstream's does."""
    return _LINE.match(body) is not None


class DumbRefsReader:
    """Reads ``info/refs`` as it comes.

    :param media_type: what it is said to be, for messages.
    """

    def __init__(self, media_type: str) -> None:
        self._media_type = media_type
        self._rest = b""
        self._refs: list[RemoteRef] = []
        self._width = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        :raise NotGit: when this is no list of refs.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > _LONGEST_LINE:
            raise self._not_git()

    def _take(self, line: bytes) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            if is_funny(line.replace(b"\t", b" ", 1)):
                return
            raise self._not_git()
        oid, name = match[1].decode("ascii"), text_of(match[2])
        self._width = self._width or len(oid)
        if len(oid) != self._width:
            raise NotGit(f"bad line in its info/refs: {printable(line)}")
        if not match[3]:
            self._refs.append(RemoteRef(name, oid))
        elif self._refs and self._refs[-1].name == name:
            self._refs[-1] = RemoteRef(name, self._refs[-1].oid, None, oid)

    def _not_git(self) -> NotGit:
        return NotGit(f"its content type is {self._media_type[:80] or 'missing'!r}")

    def refs(self) -> list[RemoteRef]:
        """Return the refs.

        :raise NotGit: when there was no list of them, or the end is missing.
        """
        if self._rest:
            raise self._not_git()
        return self._refs

    def listing(self, head: bytes) -> Listing:
        """Return the refs with HEAD.

        :param head: the content of ``HEAD``; empty where it isn't to be had.
        :raise NotGit: when there was no list of refs, or neither refs nor HEAD.
        """
        refs, match = self.refs(), _HEAD.fullmatch(head)
        if match is not None and match[2]:
            self._width = self._width or len(match[2])
            # An id of another object format says nothing here.
            match = match if len(match[2]) == self._width else None
        if match is None and not refs:
            # An empty answer may be anything.
            raise self._not_git()
        if match is not None:
            refs = [_head(refs, match), *refs]
        return Listing(each_once(refs), "sha256" if self._width == 64 else "sha1", protocol=0)


def _head(refs: list[RemoteRef], match: re.Match[bytes]) -> RemoteRef:
    if match[2]:
        return RemoteRef("HEAD", match[2].decode("ascii"))
    target = text_of(match[1])
    oid = next((ref.oid for ref in refs if ref.name == target), None)
    return RemoteRef("HEAD", oid, target)


def head_of(listing: Listing) -> bytes:
    """Return the content of ``HEAD`` for whoever asks for it as a file; empty where it is not known."""
    head = listing.by_name.get("HEAD")
    if head is None:
        return b""
    text = f"ref: {head.symref_target}" if head.symref_target else head.oid or ""
    return f"{text}\n".encode("utf-8", "surrogateescape")
