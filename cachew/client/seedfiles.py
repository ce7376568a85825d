"""The files of a seed: written aside within the repository, before they are renamed to where git looks for them.

They lie in a directory that git itself would sweep away (``tmp_objdir-…``), should nobody else be left to do so.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from cachew.client.clienterrors import ClientError
from cachew.client.gitdir import GitDirectory
from cachew.client.largefiles import write_all
from cachew.client.seededobjects import SeededObjects
from cachew.client.seedplacement import NEW_FILE, SeedPlacement, not_written
from cachew.client.tarheader import TarEntry
from cachew.client.wholeblobs import WholeBlobs

_IN_REPOSITORY = b".git/"
_ASIDE = b"tmp_objdir-cachew-"


class SeedFiles:
    """Writes the files of one seed.

    :param repository: whose they are to be.

    :ivar objects: those of them that are objects.
    :ivar placement: where they go.
    """

    def __init__(self, repository: GitDirectory) -> None:
        self._repository = repository
        self._file = -1
        self._blobs: WholeBlobs | None = None
        self._in_blob = False
        self.directory = os.path.join(repository.objects, _ASIDE + b"%d" % os.getpid())
        self.objects = SeededObjects(self.directory)
        self.placement = SeedPlacement(repository, self.objects)

    def sweep(self) -> None:
        """Remove what lies aside of processes that were killed; a later one may have the number of one of them."""
        for name in os.listdir(self._repository.objects):
            number = name[len(_ASIDE) :]
            if name.startswith(_ASIDE) and number.isdigit() and not _is_other_process(int(number)):
                _remove(os.path.join(self._repository.objects, name))

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
            self._file = os.open(path, NEW_FILE, 0o444)
        except OSError as error:
            raise not_written(path, error) from error
        if not entry.size:
            self.end()
        return True

    def write(self, *content: memoryview) -> None:
        """Write what comes next of it.

        :raise ExtractionFailed: when that does not go.
        """
        if self._in_blob and self._blobs is not None:
            for piece in content:
                self._blobs.write(piece)
            return
        try:
            write_all(self._file, content)
        except OSError as error:
            raise not_written(self.directory, error) from error

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
                    raise not_written(self.directory, error) from error
            return
        opened, self._file = self._file, -1
        if opened != -1:
            os.close(opened)

    def begin_blobs(self, wanted: "Iterable[bytes]", *, oid_size: int) -> None:
        """Take some files of the working tree, which follow, as blobs.

        :param wanted: their names, not in hex.
        :raise OSError: when that does not go.
        """
        self._blobs = WholeBlobs(self.objects.path_of(b"pack"), wanted=wanted, oid_size=oid_size)

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
        except (OSError, ClientError):
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

    def close(self) -> None:
        """Remove what lies aside and what was put in vain; may be called more than once."""
        self.end_blobs(keep=False)
        self.end()
        self.placement.take_back()
        _remove(self.directory)
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


def _remove(directory: bytes) -> None:
    """Remove a directory of files of our own; ``shutil`` takes longer to import than this to do."""
    for place, directories, files in os.walk(directory, topdown=False):
        for name in files:
            with suppress(OSError):
                os.unlink(os.path.join(place, name))
        for name in directories:
            with suppress(OSError):
                os.rmdir(os.path.join(place, name))
    with suppress(OSError):
        os.rmdir(directory)


def _is_other_process(number: int) -> bool:
    """Tell whether a process that is not this one has a number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return number != os.getpid()
