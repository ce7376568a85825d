"""A pack of the files that git is about to check out, each as it is: neither a delta nor compressed.

A server may have stored the newest version of a file as the last of fifty deltas, as whatever was imported or pushed in
small pieces is. Then git spends most of a clone on putting files together that the snapshot has as they are. What is
written here is called after its own content, so nothing is believed about it.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from cachew.client.largefiles import write_all
from cachew.client.packindexfiles import PackedObject, digest_of, multi_pack_index, pack_index
from cachew.client.workers import Job, Workers

_HEADER = struct.Struct(">4sLL")
_BLOB = 3
_STORED = struct.Struct("<BHH")
_STORED_LIMIT = 0xFFFF
_FOR_EVER = -1.0
_PIECE = 1024 * 1024
"""The bytes that are written, and meanwhile digested, at once."""


class WholeBlobs:
    """Writes one such pack.

    :param directory: exists; the pack and its indexes are made there.
    :param wanted: the names of the blobs, not in hex; what is no such one is left out.
    :param oid_size: bytes of an object name, 20 or 32.
    :raise OSError: when it can't be made.
    """

    def __init__(self, directory: bytes, *, wanted: Iterable[bytes], oid_size: int) -> None:
        self._directory = directory
        self._wanted = set(wanted)
        self._announced = len(self._wanted)
        self._oid_size = oid_size
        self._objects: list[PackedObject] = []
        self._pieces: list[bytes] = []
        self._path = os.path.join(directory, b"tmp_pack_blobs")
        self._made = [self._path]
        self._file = open(self._path, "x+b", buffering=0)  # noqa: SIM115 (closed when the pack is complete)
        self._unwritten: list[bytes | memoryview] = [_HEADER.pack(b"PACK", 2, self._announced)]
        self._position, self._written = _HEADER.size, 0
        self._digest, self._writing = digest_of(oid_size), Job.done(None)
        self._workers = Workers(1, "blobs")

    @property
    def complete(self) -> bool:
        """Whether nothing more is wanted."""
        return not self._wanted

    def write(self, content: memoryview) -> None:
        """Take what comes next of a file."""
        self._pieces.append(bytes(content))

    def end(self) -> None:
        """Put the file into the pack when it is wanted.

        :raise OSError: when that does not go.
        """
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        naming = digest_of(self._oid_size, b"blob %d\0" % len(content))
        naming.update(content)
        oid = naming.digest()
        if oid not in self._wanted:
            return
        self._wanted.discard(oid)
        entry, crc = [_entry_header(len(content)), *stored(content)], 0
        for part in entry:
            crc = zlib.crc32(part, crc)
        self._objects.append((oid, crc, self._position))
        self._unwritten += entry
        self._position += sum(map(len, entry))
        if self._position - self._written >= _PIECE:
            self._write_on()

    def finish(self) -> None:
        """Complete the pack and make its indexes; without any blob there is none.

        :raise OSError: when that does not go.
        """
        self._write_on()
        self._writing.result()
        digest = self._digest if len(self._objects) == self._announced else self._counted_anew()
        self._file.write(digest.digest())
        self.close()
        if not self._objects:
            os.unlink(self._path)
            return
        self._objects.sort()
        name = b"pack-%s" % digest.hexdigest().encode()
        indexes = {
            name + b".idx": pack_index(self._objects, checksum=digest.digest()),
            b"multi-pack-index": multi_pack_index(self._objects, index=name + b".idx", oid_size=self._oid_size),
        }
        pack = os.path.join(self._directory, name + b".pack")
        os.rename(self._path, pack)
        self._made = [pack, *(os.path.join(self._directory, file) for file in indexes)]
        for file, content in indexes.items():
            _write(os.path.join(self._directory, file), content)
        os.chmod(pack, os.stat(pack).st_mode & 0o444)

    def discard(self) -> None:
        """Remove what was written, also of what could not be finished."""
        with suppress(OSError):  # what is still to be written, where there is no room for it
            self.close()
        for path in self._made:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def close(self) -> None:
        """Close the file once nobody writes to it any more; may be called more than once."""
        self._writing.is_done_within(_FOR_EVER)
        self._workers.close()
        self._file.close()

    def _write_on(self) -> None:
        content = b"".join(self._unwritten)
        self._unwritten.clear()
        self._written += len(content)
        self._writing.result()
        self._writing = self._workers.submit(self._put, content)

    def _put(self, content: bytes) -> None:
        write_all(self._file.fileno(), [memoryview(content)])
        self._digest.update(content)

    def _counted_anew(self) -> Any:
        """Say how many objects there are, which the pack begins with, and return its digest then."""
        self._file.seek(0)
        self._file.write(_HEADER.pack(b"PACK", 2, len(self._objects)))
        self._file.seek(0)
        digest = digest_of(self._oid_size)
        while piece := self._file.read(_PIECE):
            digest.update(piece)
        return digest


def stored(content: bytes) -> "list[bytes | memoryview]":
    """Return content as zlib has it without compressing it, in parts (RFC 1950; RFC 1951, section 3.2.4)."""
    view = memoryview(content)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, max(1, len(content)), _STORED_LIMIT):
        part = view[start : start + _STORED_LIMIT]
        is_last = start + _STORED_LIMIT >= len(content)
        parts += [_STORED.pack(is_last, len(part), len(part) ^ 0xFFFF), part]
    return [*parts, zlib.adler32(content).to_bytes(4, "big")]


def _entry_header(size: int) -> bytes:
    """Return what stands before a blob in a pack: its type and size."""
    header = bytearray([_BLOB << 4 | size & 0x0F])
    size >>= 4
    while size:
        header[-1] |= 0x80
        header.append(size & 0x7F)
        size >>= 7
    return bytes(header)


def _write(path: bytes, content: bytes) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    with os.fdopen(opened, "wb") as file:
        file.write(content)
