"""Request bodies that are needed whole: small ones in memory, the rest in files without names.

What strangers send is never held without a bound. The first bytes of every body are free, which the number of
connections bounds, so that ordinary requests are taken whatever large ones hold; all that comes after counts against
one budget for the server, and a share of it for each client's address. A body lives for as long as somebody refers to
it: answers that several clients share may need it when the client who sent it is gone.
"""

import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from cachew.http.incoming import Body, HeldBody
from cachew.http.inflating import copy_inflated
from cachew.plumbing.budget import Account, Budget
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import StorageFull, StorageUnavailable, TooLarge
from cachew.plumbing.streams import PIECE, FileSource, Source

FREE = 16 * 1024
"""Bytes of each body that count against no budget."""
IN_MEMORY = 1024 * 1024
"""The largest body that is held in memory."""
MEMORY_FOR_ALL = 64 * 1024 * 1024
"""Bytes of all bodies in memory, above which further ones go to files as soon as they are larger than is free."""
_LIMIT = 1024 * 1024 * 1024
_SHARE = 256 * 1024 * 1024
_FILES = 256


class FiledBody:
    """A body in a file without a name.

    :param file: the file, which goes with this.
    :param size: its bytes.
    :param digest: its SHA-256 in hex.
    :param release: called when it goes.
    """

    def __init__(self, file: BinaryIO, *, size: int, digest: str, release: Callable[[], object]) -> None:
        self.size, self.digest = size, digest
        self._file = file
        self._finalizer = weakref.finalize(self, _let_go, file, release)

    def source(self) -> Source:
        """Return a stream over it, through a descriptor of its own."""
        return FileSource(os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0), 0, self.size)

    def pieces(self) -> Iterator[bytes]:
        """Read it in pieces."""
        for offset in range(0, self.size, PIECE):
            yield os.pread(self._file.fileno(), PIECE, offset)

    def close(self) -> None:
        """Drop the file."""
        self._finalizer()


def _let_go(file: BinaryIO, release: Callable[[], object]) -> None:
    file.close()
    release()


class BodyStore:
    """Where bodies are collected.

    :param directory: for the files; None for the system's.
    :param budget: what all of them may hold; None for the default.
    """

    def __init__(self, *, directory: Path | None = None, budget: Budget | None = None) -> None:
        self.directory = directory
        self.budget = budget or Budget(limit=_LIMIT, share=_SHARE, files=_FILES)

    async def collect(
        self, source: Source, *, owner: str, length: int | None, limit: int, encoding: str | None = None
    ) -> Body:
        """Read a body to its end.

        :param source: the body; it is closed in the end, whatever that is.
        :param owner: the client's address.
        :param length: bytes announced, None when none were.
        :param limit: the most bytes that are accepted, decoded; more announced ones are refused before they come.
        :param encoding: its ``Content-Encoding``.
        :raise TooLarge: when there is more.
        :raise Busy: when too much is held already, for everybody or for this client.
        :raise StorageUnavailable: when there is no room on the disk.
        :raise CachewError: whatever is wrong with the body.
        """
        collection = _Collection(self.directory, self.budget, owner)
        try:
            if length is not None and length > limit:
                raise TooLarge(limit, "the request body")
            if length is not None:
                collection.require(length)
            if encoding is None:
                await _copy(source, collection.write, limit)
            else:
                await copy_inflated(source, collection.write, encoding=encoding, limit=limit)
            return collection.body()
        except BaseException:
            collection.drop()
            raise
        finally:
            source.close()


async def _copy(source: Source, write: Callable[[bytes], object], limit: int) -> None:
    """Read a body that comes as it is to its end, within the limit."""
    size = 0
    while piece := await source.read(PIECE):
        size += len(piece)
        if size > limit:
            raise TooLarge(limit, "the request body")
        write(piece)


class _Collection:
    """A body on its way in."""

    def __init__(self, directory: Path | None, budget: Budget, owner: str) -> None:
        self._directory, self._budget = directory, budget
        self._owner = owner
        self._account: Account | None = None
        self._held = bytearray()
        self._file: BinaryIO | None = None
        self._size = 0
        self._hash = hashlib.sha256()

    def require(self, length: int) -> None:
        if length > FREE:
            self._counted().require(length - FREE)

    def write(self, data: bytes) -> None:
        before, self._size = self._size, self._size + len(data)
        self._hash.update(data)
        if self._size <= FREE:
            self._held += data
            return
        account = self._counted()
        account.take(self._size - max(FREE, before))
        if self._file is None and self._fits_memory(len(data)):
            account.note_memory(len(data))
            self._held += data
        else:
            self._file = self._file or self._opened(account)
            _append(self._file, data)

    def _counted(self) -> Account:
        """Return what the body takes out of the budget, where it is more than is free."""
        if self._account is None:
            self._account = self._budget.account(self._owner)
            self._account.note_memory(len(self._held))
        return self._account

    def _fits_memory(self, more: int) -> bool:
        return self._size <= IN_MEMORY and self._budget.in_memory + more <= MEMORY_FOR_ALL

    def _opened(self, account: Account) -> BinaryIO:
        """Make the file, with what has come so far."""
        account.take_file()
        file = _nameless_file(self._directory)
        try:
            _append(file, self._held)
        except BaseException:
            file.close()
            raise
        account.note_memory(-len(self._held))
        self._held = bytearray()
        return file

    def body(self) -> Body:
        """Give what was collected to whoever refers to it from now on."""
        digest = self._hash.hexdigest()
        if self._account is None:
            return HeldBody(bytes(self._held), digest=digest)
        if self._file is not None:
            return FiledBody(self._file, size=self._size, digest=digest, release=self._account.close)
        return HeldBody(bytes(self._held), digest=digest, release=self._account.close)

    def drop(self) -> None:
        """Let go of everything."""
        self._held = bytearray()
        if self._file is not None:
            self._file.close()
        if self._account is not None:
            self._account.close()


def _nameless_file(directory: Path | None) -> BinaryIO:
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        # Owned by the body that is made of it.
        return cast(BinaryIO, tempfile.TemporaryFile(dir=directory, buffering=0))
    except OSError as failure:
        if failure.errno in EXHAUSTED:
            raise
        raise StorageUnavailable(f"no file could be made for the request's body: {failure.strerror}") from failure


def _append(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as failure:
        raise StorageFull(f"there is no room for the request's body: {failure.strerror}") from failure
