"""Scans a tar stream entry by entry and lets through only what rules allow (pure).

The archive is not trusted. Everything that extraction sees has gone through here: what an entry is is put together from
all that is said of it, devices, sparse files and unknown types are refused, and what remains is written anew, entry by
entry, with a header of our own. Large files that rules allow to be written aside do not get into that stream.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from cachew.client import tarheader
from cachew.client.checkedfiles import Aside, CheckedFiles
from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused
from cachew.client.filesums import FileSum
from cachew.client.tarextensions import EXTENSION_FLAGS, HeaderExtensions
from cachew.client.tarheader import BLOCK, EntryKind, TarEntry
from cachew.client.workers import Workers

EXTENSION_LIMIT = 1024 * 1024
"""The longest pax header or long name, in bytes."""
FILLING_LIMIT = 16 * 1024 * 1024
"""The most bytes of zeros after the end of an archive; records are seldom of more than one MiB."""
CAPTURE_LIMIT = 256 * 1024
"""The longest file, in bytes, whose content is kept for rules that ask for it."""
_ZERO = bytes(BLOCK)
_SIZE_LIMIT = 2**62


class Rules(Protocol):
    """What of an archive may be extracted."""

    def judge(self, entry: TarEntry) -> TarEntry | None:
        """Return the entry as it is to be extracted, or None to leave it out.

        :raise ArchiveRefused: to refuse the whole archive.
        """

    def wants_content(self, path: bytes) -> bool:
        """Tell whether the content of a file that was left out is to be kept in memory."""

    def stands_alone(self, path: bytes) -> bool:
        """Tell whether a file may be written out of turn: nothing else that is let through is meant by its name."""

    def sum_of(self, path: bytes) -> FileSum | None:
        """Return what checks the content of a file that is extracted, None when nothing does."""


class _Body(Enum):
    EMIT = "emit"
    ASIDE = "aside"
    DROP = "drop"
    EXTEND = "extend"
    CAPTURE = "capture"


class TarScanner:
    """An incremental scanner: feed it the archive, it gives the archive that may be extracted.

    :param rules: what may be extracted.
    :param aside: who writes large files; None when they are in the stream like any other.
    :param workers: compute the checksums of large files while these are written; None to do it in between.
    """

    def __init__(self, *, rules: Rules, aside: Aside | None = None, workers: Workers | None = None) -> None:
        self._rules = rules
        self._files = CheckedFiles(aside=aside, workers=workers)
        self._extensions = HeaderExtensions()
        self._block = b""
        self._left = 0
        self._body = _Body.DROP
        self._size = 0
        self._collected = bytearray()
        self._collecting = b""
        self._ended = False
        self._filling = 0
        self.captured: dict[bytes, bytes] = {}
        self.entries = 0

    def feed(self, *content: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """Take pieces of the archive and yield pieces of the archive to extract.

        Of large files all that is given at once is written and checked at once, so the more the better.

        :raise ArchiveRefused: when an entry could do harm.
        :raise ArchiveBroken: when it is no tar archive.
        :raise FileDamaged: when a file is not what its checksum says.
        """
        for piece in content:
            yield from self._scanned(memoryview(piece))
        self._files.write()

    def finish(self) -> bytes:
        """Return the end of the archive to extract.

        :raise ArchiveBroken: when the archive has not come to its end.
        """
        if not self._ended:
            raise ArchiveBroken("the archive ends too early")
        return _ZERO * 2

    def _scanned(self, view: memoryview) -> Iterator[bytes | memoryview]:
        while view and not self._ended:
            if self._left:
                taken = view[: self._left]
                self._left -= len(taken)
                view = view[len(taken) :]
                if self._body is _Body.EMIT:
                    if self._files.checked:
                        self._files.check(taken, self._left)
                    yield taken
                else:
                    self._keep(taken)
                continue
            missing = BLOCK - len(self._block)
            self._block += view[:missing]
            view = view[missing:]
            if len(self._block) == BLOCK:
                block, self._block = self._block, b""
                if (header := self._header(block)) is not None:
                    yield header
        if self._ended:
            self._after_end(view)

    def _after_end(self, rest: memoryview) -> None:
        """Refuse all that follows but zeros that fill the last record: a few bytes may stand for terabytes of them."""
        self._filling += len(rest)
        if self._filling > FILLING_LIMIT or bytes(rest).strip(b"\0"):
            raise ArchiveRefused("it goes on after its end")

    def _keep(self, taken: memoryview) -> None:
        if self._body is _Body.ASIDE:
            self._files.put_aside(taken, self._left)
        elif self._body is not _Body.DROP:
            self._collected += taken
            if not self._left:
                self._collection_done(bytes(self._collected[: self._size]))

    def _collection_done(self, data: bytes) -> None:
        if self._body is _Body.EXTEND:
            self._extensions.add(self._collecting, data)
        else:
            self.captured[self._collecting] = data

    def _expect(self, size: int, body: _Body) -> None:
        self._size, self._left, self._body = size, size + tarheader.padding(size), body
        self._collected.clear()

    def _header(self, block: bytes) -> bytes | None:
        if block == _ZERO:
            if self._extensions.pending:
                raise ArchiveBroken("the archive is damaged: it ends within an entry")
            self._ended = True
            return None
        header = tarheader.parse(block)
        if not 0 <= header.size < _SIZE_LIMIT:
            raise ArchiveRefused("an entry has an impossible size")
        if header.flag in EXTENSION_FLAGS:
            if not 0 < header.size <= EXTENSION_LIMIT:
                raise ArchiveRefused(f"a header extension of {header.size} bytes")
            self._collecting = header.flag
            self._expect(header.size, _Body.EXTEND)
            return None
        return self._entry(self._extensions.entry(header))

    def _entry(self, entry: TarEntry) -> bytes | None:
        self.entries += 1
        kept = self._rules.judge(entry)
        if kept is not None:
            return self._kept(kept)
        if 0 < entry.size <= CAPTURE_LIMIT and self._rules.wants_content(entry.path):
            self._collecting = entry.path
            self._expect(entry.size, _Body.CAPTURE)
        else:
            self._expect(entry.size, _Body.DROP)
        return None

    def _kept(self, entry: TarEntry) -> bytes | None:
        if entry.kind is EntryKind.FILE:
            checksum, alone = self._rules.sum_of(entry.path), self._rules.stands_alone(entry.path)
            if (alone or checksum is not None) and self._files.begin(entry, checksum, alone=alone):
                self._expect(entry.size, _Body.ASIDE)
                return None
        self._expect(entry.size, _Body.EMIT)
        return tarheader.build(entry)
