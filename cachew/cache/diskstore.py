"""A disk cache's objects on their way in, and what is known of all; everything here blocks and is called in threads."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cachew.cache.diskfile import Draft, Stamp, stamp_of
from cachew.cache.diskroom import DiskRoom, Drafts
from cachew.cache.interface import ObjectInfo, Stats
from cachew.cache.objectfiles import ObjectFiles, index_row
from cachew.cache.objectrecord import WriteTerms
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import CorruptObject, StorageUnavailable


class DiskStore:
    """The files and the index of a disk cache.

    :param directory: its own; made when it doesn't exist.
    :param limit: bytes that the files may take, None for no bound.
    :param min_free: bytes that the file system shall have left.
    :param free: tells what it has left.

    :ivar files: the finished objects.
    :ivar drafts: those being written.
    :ivar room: makes room for them.
    """

    def __init__(
        self, *, directory: Path, limit: int | None, min_free: int = 0, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self.files = ObjectFiles(directory)
        self.drafts = Drafts(directory / "partial")
        self.room = DiskRoom(files=self.files, drafts=self.drafts, limit=limit, min_free=min_free, free=free)

    def close(self) -> None:
        """Write down the uses and close the index."""
        with self.files.lock, suppress(StorageUnavailable):
            self.files.uses.flush()
            self.files.index.database.close()

    def append(self, draft: Draft, data: bytes) -> None:
        """Write the next bytes of a file."""
        self.room.fit(lambda: draft.append(data), max(len(data), draft.missing))

    def publish(self, draft: Draft, terms: WriteTerms, now: float) -> tuple[ObjectInfo, Stamp]:
        """Finish a file and put it where readers find it.

        :raise CorruptObject: when the content is not the promised one.
        :raise StorageFull: when there is no room.
        """
        record = self.room.fit(lambda: draft.seal(terms, now))
        draft.flush()
        with self.files.lock:
            self.room.make(now)
            stamp, path = draft.stamp(), self.files.path_of(terms.namespace, terms.key)
            self.files.clear(path)
            # First, so that no file becomes visible that the index can't take in and nobody would ever remove.
            self.files.index.put(index_row(record.info, stamp, used=now))
            try:
                draft.publish(path)
            except (OSError, RuntimeError):  # the latter when it was given up meanwhile
                self.files.index.remove(terms.namespace, terms.key)
                if path.exists():
                    self.files.adopt(path)
                raise
            self.drafts.forget(draft)
            renamed = stamp_of(path)
            if renamed[:3] != stamp[:3]:
                raise CorruptObject("a stored object was changed while it was stored")
        return record.info, renamed

    def stats(self, now: float) -> Stats:
        """Count the visible objects."""
        with self.files.lock:
            return self.files.index.stats(now, self.room.limit or 0)

    def namespaces(self, now: float) -> list[str]:
        """Return the namespaces that have visible objects."""
        with self.files.lock:
            return self.files.index.namespaces(now)

    def flush(self) -> None:
        """Write the uses down."""
        with self.files.lock:
            self.files.uses.flush()
