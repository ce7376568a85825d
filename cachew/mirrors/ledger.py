"""Which files of a mirror were verified, and whether anybody but git at work here has written to any since.

To read every pack before every fetch would cost more than the fetch. What a file's inode tells costs next to nothing:
its number, its size, and when its content and its inode were changed last. The latter can't be set by anybody, so a
file that is written to shows it, also when its time of modification is put back. What a disk forgets by itself shows
only when the file is read, which is done before anything is made of a mirror and by and by.

The ledger is also the list of what has to be there. It is kept in the mirror, so that a change made while no server ran
is noticed by the next one.
"""

import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cachew.mirrors.checksums import fits, holds, is_derived, summed_files
from cachew.plumbing.diskspace import content_of, put_in_place

LEDGER = "verified.json"
_PLAIN = ("config", "HEAD", "packed-refs")
Stamp = tuple[int, int, int, int]
_DAMAGED: Stamp = (0, 0, 0, 0)
_AGAIN = 3
_LOST = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EINVAL})


def stamp_of(path: Path | str) -> Stamp | None:
    """Return what shows that somebody wrote to a file, None when there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(eq=False)
class _Reading:
    """A file that is being read, and what it showed before."""

    name: str
    stamp: Stamp | None


class PlainFiles:
    """The files of one repository that have no checksum, and what shows whether somebody writes to them.

    :param directory: the bare repository.
    """

    def __init__(self, directory: Path) -> None:
        self._root = str(directory)
        self._accepted: dict[str, Stamp | None] = {}

    def stamps(self) -> dict[str, Stamp | None]:
        """Return what each shows."""
        return {name: stamp_of(f"{self._root}/{name}") for name in _PLAIN}

    def accept(self, stamps: Mapping[str, Stamp | None] | None = None) -> None:
        """Take them for what they should be.

        :param stamps: as they were; as they are when they are looked at next when None.
        """
        self._accepted = dict(stamps or {})

    def changed(self) -> str:
        """Return one that was written to since they were accepted, or nothing."""
        now = self.stamps()
        self._accepted = self._accepted or now
        return next((name for name in now if now[name] != self._accepted[name]), "")


class Ledger:
    """The verified files of one repository. Its methods may be called from several threads.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :ivar writers: how many commands of git write there now.
    :ivar plain_files: those that can't be verified.
    """

    def __init__(self, *, directory: Path, object_format: str) -> None:
        self._directory = directory
        self._object_format = object_format
        self._root = str(directory)
        self._lock = threading.Lock()
        self._seen: dict[str, Stamp] = {}
        self._readings: set[_Reading] = set()
        self.plain_files = PlainFiles(directory)
        self.writers = 0

    @property
    def size(self) -> int:
        """The bytes of these files together, as they were when they were verified; nothing is looked at."""
        with self._lock:
            return sum(size for _, size, _, _ in self._seen.values())

    def load(self) -> bool:
        """Read what an earlier run has verified; say whether there was anything."""
        try:
            document = json.loads(content_of(f"{self._root}/{LEDGER}"))
            seen = {str(name): _stamp(stamp) for name, stamp in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return False
        with self._lock:
            self._seen = seen
        return True

    def save(self) -> None:
        """Write it down; where that can't be done the files are verified again after a restart."""
        with self._lock:
            text = json.dumps(self._seen)
        with suppress(OSError):
            put_in_place(self._directory / LEDGER, text.encode(), aside=f".{threading.get_ident()}.lock")

    def names(self) -> list[str]:
        """Return the files that there are and those that should be."""
        with self._lock:
            return sorted({*summed_files(self._directory), *self._seen})

    def touched(self) -> str:
        """Return a file that was written to by somebody else since it was verified or written here, or nothing.

        Those without a checksum are looked at while git is not at work.
        """
        if name := self.changed(writing=self.writers > 0):
            return name
        return "" if self.writers else self.plain_files.changed()

    def changed(self, *, writing: bool = False) -> str:
        """Return a file that is not as it was verified, or nothing; this looks at no content and takes no time.

        :param writing: whether git is at work on the repository, so that files may be replaced, and what is derived
            from packs may be touched.
        """
        with self._lock:
            seen = list(self._seen.items())
        # Before every answer: making paths of these names costs eight times as much as looking at the files.
        for name, stamp in seen:
            now = stamp_of(f"{self._root}/{name}")
            if now == stamp or (now is None and is_derived(name)):
                continue
            stamp, now = self._once_more(name, stamp)
            if now == stamp:
                continue
            if writing and (now is None or now[0] != stamp[0] or is_derived(name)):
                continue
            return name
        return ""

    def _once_more(self, name: str, stamp: Stamp) -> tuple[Stamp, Stamp | None]:
        """Return what a file should show, and what it shows while nobody makes links to it."""
        with self._lock:
            return self._seen.get(name, stamp), stamp_of(f"{self._root}/{name}")

    def unverified(self) -> list[str]:
        """Return the files that were never verified, or not as they are; those too that have gone."""
        with self._lock:
            seen = dict(self._seen)
        names = {*summed_files(self._directory), *seen}
        found = ((name, stamp_of(f"{self._root}/{name}")) for name in names)
        return sorted(name for name, now in found if now != seen.get(name) and not (now is None and is_derived(name)))

    def verify(self, names: Iterable[str] | None = None) -> list[str]:
        """Read files and take note of those whose checksums hold.

        :param names: which; all that there are and all that should be when None.
        :return: those that are damaged or have gone.
        :raise OSError: when a file can't be read for a reason that says nothing of it.
        """
        if names is None:
            names = sorted({*summed_files(self._directory), *self._seen})
        bad = [name for name in names if not self._verify(name)]
        self.save()
        return bad

    def _verify(self, name: str, tries: int = _AGAIN) -> bool:
        path = self._directory / name
        with self._lock:
            reading = _Reading(name, stamp_of(path))
            self._readings.add(reading)
        try:
            sound = reading.stamp is not None and _is_sound(path, self._object_format)
            with self._lock:
                settled = tries == 1 or stamp_of(path) == reading.stamp
                if settled:
                    self._note(name, reading.stamp, sound)
        finally:
            with self._lock:
                self._readings.discard(reading)
        if not settled:
            return self._verify(name, tries - 1)
        return sound or (reading.stamp is None and is_derived(name))

    def _note(self, name: str, stamp: Stamp | None, sound: bool) -> None:
        if stamp is not None:
            self._seen[name] = stamp if sound else _DAMAGED
        elif is_derived(name):
            self._seen.pop(name, None)

    def take_up(self, *, replaced: bool) -> list[str]:
        """Verify what git has just written.

        :param replaced: whether it may have taken other files away.
        :return: what is damaged.
        """
        there = set(summed_files(self._directory))
        with self._lock:
            if replaced:
                self._seen = {name: stamp for name, stamp in self._seen.items() if name in there}
            new = [name for name in there if _is_new(name, self._seen.get(name), stamp_of(self._directory / name))]
        return self.verify(sorted(new))

    @contextmanager
    def relinking(self) -> Iterator[None]:
        """Make or remove links to files while the block runs, which changes their inodes and nothing else."""
        with self._lock:
            sound = [name for name, stamp in self._seen.items() if stamp_of(self._directory / name) == stamp]
            readings = [one for one in self._readings if stamp_of(self._directory / one.name) == one.stamp]
            try:
                yield
            finally:
                for name in sound:
                    self._seen[name] = _relinked(self._directory / name, self._seen[name])
                for reading in readings:
                    if reading.stamp is not None:
                        reading.stamp = _relinked(self._directory / reading.name, reading.stamp)
        self.save()


def _is_sound(path: Path, object_format: str) -> bool:
    try:
        return holds(path, object_format) and (path.suffix != ".pack" or fits(path, object_format))
    except OSError as error:
        # What can't be opened for want of descriptors is not damaged for that.
        if error.errno not in _LOST:
            raise
        return False


def _is_new(name: str, known: Stamp | None, now: Stamp | None) -> bool:
    """Say whether git has just written a file, from what it showed when it was verified and what it shows now."""
    if known is None or now is None:
        return known is None
    return known != now and (known[0] != now[0] or is_derived(name))


def _relinked(path: Path, stamp: Stamp) -> Stamp:
    """Return what a file shows now if only its inode has changed since it showed something else."""
    now = stamp_of(path)
    return now if now is not None and now[:3] == stamp[:3] else stamp


def _stamp(numbers: Iterable[int]) -> Stamp:
    inode, size, modified, changed = (int(number) for number in numbers)
    return inode, size, modified, changed
