"""Where the files of a seed go: renamed into the repository, and taken back when not all of them can be."""

import os
from contextlib import suppress

from cachew.client.clienterrors import ExtractionFailed, no_space_advice
from cachew.client.gitdir import GitDirectory
from cachew.client.seededobjects import SeededObjects

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ORDER = (b".pack", b".rev", b".bitmap", b".promisor", b".idx", b"multi-pack-index")


class SeedPlacement:
    """Puts what a seed has brought where git looks for it. A pack's index comes last, because git knows a pack by it.

    :param repository: whose it is to be.
    :param objects: what is put there.
    """

    def __init__(self, repository: GitDirectory, objects: SeededObjects) -> None:
        self._repository = repository
        self._objects = objects
        self._put: list[bytes] = []

    def put(self) -> None:
        """Rename all objects to their places, indexes last; what was put is taken back when one can't be.

        :raise ExtractionFailed: when that does not go.
        """
        names = sorted(self._objects.names(), key=lambda name: (_rank(name), name))
        for name in names:
            path = os.path.join(self._repository.objects, name)
            try:
                with suppress(FileExistsError):
                    os.mkdir(os.path.dirname(path))
                os.rename(self._objects.path_of(name), path)
            except OSError as error:
                raise not_written(path, error) from error
            self._put.append(path)

    def put_packed_refs(self, text: bytes) -> None:
        """Write the refs of a repository that has none, under git's own lock.

        :raise ExtractionFailed: when that does not go.
        """
        path = os.path.join(self._repository.common, b"packed-refs")
        try:
            opened = os.open(path + b".lock", NEW_FILE, 0o666)
            self._put.append(path + b".lock")
            with os.fdopen(opened, "wb") as file:
                file.write(text)
            os.rename(path + b".lock", path)
            self._put[-1] = path
        except OSError as error:
            raise not_written(path, error) from error

    def settle(self) -> None:
        """Keep what was put."""
        self._put.clear()

    def take_back(self) -> None:
        """Remove what was put in vain; may be called more than once."""
        for path in reversed(self._put):
            with suppress(OSError):
                os.unlink(path)
        self._put.clear()


def _rank(name: bytes) -> int:
    return next((rank for rank, end in enumerate(_ORDER) if name.endswith(end)), 0)


def not_written(path: bytes, error: OSError) -> ExtractionFailed:
    """Return what to raise for a file that can't be written."""
    said = error.strerror or str(error)
    return ExtractionFailed(f"cannot write {os.fsdecode(path)!r}: {said}", no_space_advice(said))
