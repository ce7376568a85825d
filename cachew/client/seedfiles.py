"""The files of a seed: written aside within the repository, checked, and then renamed to where git looks for them.

They lie in a directory that git itself would sweep away (``tmp_objdir-…``), should nobody else be left to do so. A
pack's index comes last, because git knows a pack by it.
"""

import os
import re
import shutil
from binascii import unhexlify
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap

from cachew.client.clienterrors import ArchiveBroken, ExtractionFailed, no_space_advice
from cachew.client.gitdir import GitDirectory
from cachew.client.largefiles import write_all
from cachew.client.packcontents import PackContents
from cachew.client.tarheader import TarEntry
from cachew.client.wholeblobs import WholeBlobs

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PACK = re.compile(rb"pack-[0-9a-f]+\.pack")
_ORDER = (b".pack", b".rev", b".bitmap", b".promisor", b".idx", b"multi-pack-index")
_IN_REPOSITORY = b".git/"


@dataclass(frozen=True)
class SeededPack:
    """A pack of a seed, where it lies aside.

    :param contents: its index.
    :param oid_size: bytes of its objects' names.
    """

    path: bytes
    contents: PackContents
    oid_size: int


class SeedFiles:
    """Writes the files of one seed.

    :param repository: whose they are to be.
    """

    def __init__(self, repository: GitDirectory) -> None:
        self._repository = repository
        self._file = -1
        self._blobs: WholeBlobs | None = None
        self._in_blob = False
        self._put: list[bytes] = []
        self.directory = os.path.join(repository.objects, b"tmp_objdir-cachew-%d" % os.getpid())

    def begin(self, entry: TarEntry) -> bool:
        """Begin a file: one of the repository's, or a blob when it is one of the working tree's.

        :raise ExtractionFailed: when that does not go.
        """
        self._in_blob = not entry.path.startswith(_IN_REPOSITORY)
        if self._in_blob:
            if not entry.size:
                self.end()
            return True
        path = os.path.join(self.directory, *entry.path.split(b"/")[1:])
        try:
            self._make_directories(os.path.dirname(path))
            self._file = os.open(path, _NEW_FILE, 0o444)
        except OSError as error:
            raise _failed(path, error) from error
        if not entry.size:
            self.end()
        return True

    def write(self, content: memoryview) -> None:
        """Write what comes next of it.

        :raise ExtractionFailed: when that does not go.
        """
        if self._in_blob and self._blobs is not None:
            self._blobs.write(content)
            return
        try:
            write_all(self._file, content)
        except OSError as error:
            raise _failed(self.directory, error) from error

    def end(self) -> None:
        """Close it.

        :raise ExtractionFailed: when a blob can't be written.
        """
        if self._in_blob:
            self._in_blob = False
            if self._blobs is not None:
                try:
                    self._blobs.end()
                except OSError as error:
                    raise _failed(self.directory, error) from error
            return
        opened, self._file = self._file, -1
        if opened != -1:
            os.close(opened)

    def packs(self) -> "list[SeededPack]":
        """Return the packs that have come.

        :raise ArchiveBroken: when a pack's index is none.
        """
        names = [name for name in self._names() if _PACK.fullmatch(os.path.basename(name))]
        found = []
        for name in names:
            size = _oid_size(name)
            index = PackContents(_mapped(self._aside(_index_of(name))), size=size)
            found.append(SeededPack(self._aside(name), index, size))
        return found

    def begin_blobs(self, wanted: "Iterable[bytes]", *, oid_size: int) -> None:
        """Take some files of the working tree, which follow, as blobs.

        :param wanted: their names, not in hex.
        :raise OSError: when that does not go.
        """
        self._blobs = WholeBlobs(self._aside(b"pack"), wanted=wanted, oid_size=oid_size)

    @property
    def has_all_blobs(self) -> bool:
        """Whether no blob is waited for."""
        return self._blobs is None or self._blobs.complete

    def end_blobs(self, *, keep: bool) -> None:
        """Complete the pack of the blobs, or do without it."""
        blobs, self._blobs, self._in_blob = self._blobs, None, False
        if blobs is None:
            return
        try:
            if keep:
                blobs.finish()
                return
        except OSError:
            pass  # git gets along without
        with suppress(OSError):
            blobs.discard()

    def content(self, *name: bytes) -> bytes:
        """Return what a file holds, nothing when there is none."""
        with suppress(FileNotFoundError), open(os.path.join(self.directory, *name), "rb") as file:
            return file.read()
        return b""

    def branches(self) -> "dict[bytes, bytes]":
        """Return the content of the files below ``refs/heads``, by their names."""
        found = dict[bytes, bytes]()
        for place, _, files in os.walk(os.path.join(self.directory, b"refs")):
            for name in files:
                path = os.path.join(place, name)
                found[os.path.relpath(path, self.directory)] = self.content(path)
        return found

    def check(self) -> None:
        """See that every pack has the index that was made of it.

        :raise ArchiveBroken: when one has not.
        """
        packs = [name for name in self._names() if _PACK.fullmatch(os.path.basename(name))]
        for pack in packs:
            size = _oid_size(pack)
            try:
                if _end(self._aside(pack), size, size) != _end(self._aside(_index_of(pack)), 2 * size, size):
                    raise ArchiveBroken("a pack of the snapshot has the index of another")
            except (FileNotFoundError, OSError) as error:
                raise ArchiveBroken("a pack of the snapshot has no index") from error

    def lacks(self, oids: "Iterable[bytes]") -> "bytes | None":
        """Return the first object, by its name in hex, that is not among the files; None when all are.

        :raise ArchiveBroken: when a pack's index is none.
        """
        wanted = set(oids)
        size = len(next(iter(wanted), b"")) // 2
        names = self._names()
        indexes = [PackContents(_mapped(self._aside(name)), size=size) for name in names if name.endswith(b".idx")]
        loose = {name.replace(b"/", b"") for name in names}
        missing = (oid for oid in wanted if oid not in loose)
        return next((oid for oid in missing if not any(unhexlify(oid) in index for index in indexes)), None)

    def put(self) -> None:
        """Rename all objects to their places, indexes last; what was put is taken back when one can't be.

        :raise ExtractionFailed: when that does not go.
        """
        names = sorted(self._names(), key=lambda name: (_rank(name), name))
        for name in names:
            path = os.path.join(self._repository.objects, name)
            try:
                with suppress(FileExistsError):
                    os.mkdir(os.path.dirname(path))
                os.rename(self._aside(name), path)
            except OSError as error:
                raise _failed(path, error) from error
            self._put.append(path)

    def put_packed_refs(self, text: bytes) -> None:
        """Write the refs of a repository that has none, under git's own lock.

        :raise ExtractionFailed: when that does not go.
        """
        path = os.path.join(self._repository.common, b"packed-refs")
        try:
            opened = os.open(path + b".lock", _NEW_FILE, 0o644)
            self._put.append(path + b".lock")
            with os.fdopen(opened, "wb") as file:
                file.write(text)
            os.rename(path + b".lock", path)
            self._put[-1] = path
        except OSError as error:
            raise _failed(path, error) from error

    def settle(self) -> None:
        """Keep what was put."""
        self._put.clear()

    def close(self) -> None:
        """Remove what lies aside and what was put in vain; may be called more than once."""
        self.end_blobs(keep=False)
        self.end()
        for path in reversed(self._put):
            with suppress(OSError):
                os.unlink(path)
        self._put.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        if not os.path.exists(os.path.join(self._repository.path, b"HEAD")):
            self._remove_empty()

    def _remove_empty(self) -> None:
        """Remove the directories of a clone that git has given up and could not remove while we were in them."""
        for place in (b"pack", b"info", b""):
            with suppress(OSError):
                os.rmdir(os.path.join(self._repository.objects, place))
        for place in (self._repository.common, os.path.dirname(self._repository.common)):
            with suppress(OSError):
                os.rmdir(place)

    def _make_directories(self, path: bytes) -> None:
        # Not what lies above: when the repository goes away meanwhile it is not to come back.
        if path != os.path.dirname(self.directory) and not os.path.isdir(path):
            self._make_directories(os.path.dirname(path))
            with suppress(FileExistsError):
                os.mkdir(path)

    def _names(self) -> "list[bytes]":
        objects = os.path.join(self.directory, b"objects")
        found = ((place, name) for place, _, names in os.walk(objects) for name in names)
        return [os.path.relpath(os.path.join(place, name), objects) for place, name in found]

    def _aside(self, name: bytes) -> bytes:
        return os.path.join(self.directory, b"objects", name)


def _mapped(path: bytes) -> mmap:
    with open(path, "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _index_of(pack: bytes) -> bytes:
    return pack[: -len(b"pack")] + b"idx"


def _oid_size(pack: bytes) -> int:
    return 20 if len(os.path.basename(pack)) == 50 else 32


def _rank(name: bytes) -> int:
    return next((rank for rank, end in enumerate(_ORDER) if name.endswith(end)), 0)


def _end(path: bytes, back: int, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(-back, os.SEEK_END)
        return file.read(count)


def _failed(path: bytes, error: OSError) -> ExtractionFailed:
    said = error.strerror or str(error)
    return ExtractionFailed(f"cannot write {os.fsdecode(path)!r}: {said}", no_space_advice(said))
