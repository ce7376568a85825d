"""Scans a tar stream entry by entry and lets through only what rules allow (pure).

The archive is not trusted. Everything that extraction sees has gone through here: names and link targets are put
together from all their sources (ustar prefix, pax records, GNU long names), devices, sparse files and unknown types
are refused, and what remains is written anew, entry by entry, with a header of our own. Large files that rules allow to
be written aside do not get into that stream. Of files that have a checksum of git's own, that is computed on the way.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

from cachew.client import tarheader
from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused, FileDamaged
from cachew.client.filesums import FileSum
from cachew.client.tarheader import BLOCK, EntryKind, RawHeader, TarEntry
from cachew.client.workers import Workers

EXTENSION_LIMIT = 1024 * 1024
"""The longest pax header or long name, in bytes."""
CAPTURE_LIMIT = 256 * 1024
"""The longest file, in bytes, whose content is kept for rules that ask for it."""
_ZERO = bytes(BLOCK)
_KINDS = {b"0": EntryKind.FILE, b"\0": EntryKind.FILE, b"7": EntryKind.FILE}
_KINDS |= {b"1": EntryKind.HARDLINK, b"2": EntryKind.SYMLINK, b"5": EntryKind.DIRECTORY}
_DEVICES = {b"3": "a character device", b"4": "a block device", b"6": "a fifo"}
_SIZE_LIMIT = 2**62
_WORTH_A_THREAD = 64 * 1024
"""The bytes from which on another thread's checksum takes less time than having it do that."""


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


class Aside(Protocol):
    """Whoever writes large files."""

    def begin(self, entry: TarEntry) -> bool:
        """Take a file, or leave it to the stream."""

    def write(self, *content: memoryview) -> None:
        """Take what comes next of it, in pieces."""

    def end(self) -> None:
        """Hear that it was all."""


class _Body(Enum):
    EMIT = "emit"
    ASIDE = "aside"
    DROP = "drop"
    COLLECT = "collect"


class TarScanner:
    """An incremental scanner: feed it the archive, it gives the archive that may be extracted.

    :param rules: what may be extracted.
    :param aside: who writes large files; None when they are in the stream like any other.
    :param workers: compute the checksums of large files while these are written; None to do it in between.
    """

    def __init__(self, *, rules: Rules, aside: Aside | None = None, workers: Workers | None = None) -> None:
        self._rules = rules
        self._aside = aside
        self._workers = workers
        self._sum: FileSum | None = None
        self._path = b""
        self._block = b""
        self._left = 0
        self._aside_pieces: list[memoryview] = []
        self._body = _Body.DROP
        self._size = 0
        self._collected = bytearray()
        self._collecting: bytes | None = None
        self._extensions: dict[bytes, bytes] = {}
        self._ended = False
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
        self._write_aside()

    def _scanned(self, view: memoryview) -> Iterator[bytes | memoryview]:
        while view and not self._ended:
            if self._left:
                taken = view[: self._left]
                self._left -= len(taken)
                view = view[len(taken) :]
                if self._body is _Body.EMIT:
                    self._check(taken)
                    yield taken
                else:
                    self._content(taken)
                continue
            missing = BLOCK - len(self._block)
            self._block += view[:missing]
            view = view[missing:]
            if len(self._block) == BLOCK:
                block, self._block = self._block, b""
                if (header := self._header(block)) is not None:
                    yield header
        if self._ended and bytes(view).strip(b"\0"):
            raise ArchiveRefused("it goes on after its end")

    def finish(self) -> bytes:
        """Return the end of the archive to extract.

        :raise ArchiveBroken: when the archive has not come to its end.
        """
        if not self._ended:
            raise ArchiveBroken("the archive ends too early")
        return _ZERO * 2

    def _content(self, taken: memoryview) -> None:
        if self._body is _Body.COLLECT:
            self._collected += taken
            if not self._left:
                self._collection_done(bytes(self._collected[: self._size]))
        elif self._body is _Body.ASIDE:
            self._aside_pieces.append(self._without_padding(taken))
            if not self._left:
                self._end_aside()

    def _end_aside(self) -> None:
        assert self._aside is not None
        self._write_aside()
        self._check_end()
        self._aside.end()

    def _write_aside(self) -> None:
        """Write what has come of a file: it is good only until more is asked for."""
        pieces, self._aside_pieces = self._aside_pieces, []
        if self._aside is None or not pieces:
            return
        if self._workers is None or self._sum is None or sum(map(len, pieces)) < _WORTH_A_THREAD:
            _sum_up(self._sum, pieces)
            self._aside.write(*pieces)
        else:
            summing = self._workers.submit(_sum_up, self._sum, pieces)
            self._aside.write(*pieces)
            summing.result()

    def _without_padding(self, taken: memoryview) -> memoryview:
        padding = tarheader.padding(self._size)
        return taken[: max(0, len(taken) + min(0, self._left - padding))]

    def _check(self, taken: memoryview) -> None:
        if self._sum is not None:
            self._sum.update(self._without_padding(taken))
            self._check_end()

    def _check_end(self) -> None:
        if self._left or self._sum is None:
            return
        ended, self._sum = self._sum, None
        if not ended.holds():
            raise FileDamaged(show(self._path))

    def _expect(self, size: int, body: _Body) -> None:
        self._size, self._left, self._body = size, size + tarheader.padding(size), body
        self._collected.clear()

    def _header(self, block: bytes) -> bytes | None:
        if block == _ZERO:
            if self._extensions:
                raise ArchiveBroken("the archive is damaged: it ends within an entry")
            self._ended = True
            return None
        header = tarheader.parse(block)
        if not 0 <= header.size < _SIZE_LIMIT:
            raise ArchiveRefused("an entry has an impossible size")
        if header.flag in (b"x", b"g", b"L", b"K"):
            self._extension(header)
            return None
        return self._entry(header)

    def _extension(self, header: RawHeader) -> None:
        if not 0 < header.size <= EXTENSION_LIMIT:
            raise ArchiveRefused(f"a header extension of {header.size} bytes")
        self._collecting = header.flag
        self._expect(header.size, _Body.COLLECT)

    def _collection_done(self, data: bytes) -> None:
        kind, self._collecting = self._collecting, None
        if kind == b"L":
            self._extensions[b"path"] = data.partition(b"\0")[0]
        elif kind == b"K":
            self._extensions[b"linkpath"] = data.partition(b"\0")[0]
        elif kind == b"x":
            self._extensions |= _pax(data)
        elif kind == b"g":
            if _pax(data).keys() & {b"path", b"linkpath", b"size"}:
                raise ArchiveRefused("a global header renames or resizes entries")
        elif kind is not None:
            self.captured[kind] = data

    def _entry(self, header: RawHeader) -> bytes | None:
        entry = self._described(header)
        self._extensions = {}
        self.entries += 1
        kept = self._rules.judge(entry)
        if kept is not None:
            return self._kept(kept)
        if 0 < entry.size <= CAPTURE_LIMIT and self._rules.wants_content(entry.path):
            self._expect(entry.size, _Body.COLLECT)
            self._collecting = entry.path
        else:
            self._expect(entry.size, _Body.DROP)
        return None

    def _kept(self, entry: TarEntry) -> bytes | None:
        self._path, self._sum = entry.path, self._rules.sum_of(entry.path) if entry.kind is EntryKind.FILE else None
        if self._sum is not None and not entry.size:
            raise FileDamaged(show(entry.path))
        alone = entry.kind is EntryKind.FILE and self._aside is not None and self._rules.stands_alone(entry.path)
        if alone and self._aside is not None and self._aside.begin(entry):
            self._expect(entry.size, _Body.ASIDE)
            return None
        self._expect(entry.size, _Body.EMIT)
        return tarheader.build(entry)

    def _described(self, header: RawHeader) -> TarEntry:
        name = self._extensions.get(b"path", header.name)
        kind = _KINDS.get(header.flag)
        if kind is None:
            raise ArchiveRefused(f"{show(name)} is {_DEVICES.get(header.flag, 'of an unknown type')}")
        if header.flag == b"\0" and name.endswith(b"/"):
            kind = EntryKind.DIRECTORY
        size = _decimal(self._extensions[b"size"]) if b"size" in self._extensions else header.size
        if kind is not EntryKind.FILE and size:
            raise ArchiveRefused(f"{show(name)} is no file and has content")
        target = b""
        if kind in (EntryKind.HARDLINK, EntryKind.SYMLINK):
            target = self._extensions.get(b"linkpath", header.target)
            if not target or b"\0" in target:
                raise ArchiveRefused(f"{show(name)} is a link to nothing")
        return TarEntry(normal_path(name), kind, header.mode & 0o7777, size, header.mtime, target)


def _sum_up(checksum: FileSum | None, pieces: Sequence[memoryview]) -> None:
    if checksum is not None:
        for piece in pieces:
            checksum.update(piece)


def normal_path(name: bytes) -> bytes:
    """Return a name as a relative path without ``.`` parts and doubled slashes; the root is empty.

    :raise ArchiveRefused: when it is absolute or has a ``..`` part.
    """
    if name.startswith(b"/"):
        raise ArchiveRefused(f"{show(name)} is an absolute path")
    if b"\0" in name:
        raise ArchiveRefused(f"{show(name)} holds a NUL")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ArchiveRefused(f"{show(name)} leads out of the directory")
    return b"/".join(parts)


def show(name: bytes) -> str:
    """Return a name that is safe to print."""
    return repr(name[:200].decode("utf-8", "backslashreplace"))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise ArchiveRefused("an entry has an impossible size")
    return int(text)


def _pax(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        digits, _, _ = data[position : position + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = data[position + len(digits) + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if length < len(digits) + 4 or position + length > len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveBroken("the archive is damaged: a pax header is malformed")
        if key.startswith(b"GNU.sparse"):
            raise ArchiveRefused("it holds a sparse file")
        records[key] = value[:-1]
        position += length
    return {key: value for key, value in records.items() if key in (b"path", b"linkpath", b"size")}
