"""The directory for work in progress: it lies on the mirrors' file system, and is empty when nothing is being made."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from cachew.mirrors.mirror import Mirror
from cachew.plumbing.threads import InThread, made_in_thread
from cachew.snapshots.packed import unlink_objects


class Scratch:
    """Gives directories and files to work in, and removes what is left of them.

    :param path: where; nothing else may live there.
    :param threads: for work on files.
    """

    def __init__(self, *, path: Path, threads: InThread) -> None:
        self._path = path
        self._threads = threads
        self._numbers = count(1)
        self._left: set[Path] = set()

    async def start(self) -> None:
        """Remove what a killed server left behind."""
        await self._threads(_empty, self._path)

    def spool(self) -> Path:
        """Return the name of a new file."""
        return self._path / f"spool-{next(self._numbers)}"

    @asynccontextmanager
    async def directory(self, mirror: Mirror | None) -> AsyncIterator[Path]:
        """Give an empty directory while the block runs.

        :param mirror: whose objects are linked into it, which it notices.
        """
        directory = await made_in_thread(self._threads, self._made, give_up=_remove)
        try:
            yield directory
        finally:
            try:
                await self._threads(_remove_links, directory, mirror)
            finally:
                if directory.exists():
                    # What the disk did not let go goes with the next directory that is made.
                    self._left.add(directory)

    def _made(self) -> Path:
        self._path.mkdir(parents=True, exist_ok=True)
        for path in list(self._left):
            _remove(path)
            if not path.exists():
                self._left.discard(path)
        return Path(tempfile.mkdtemp(prefix="work-", dir=self._path))


def _remove_links(directory: Path, mirror: Mirror | None) -> None:
    if mirror is not None:
        with mirror.place.relinking():
            unlink_objects(directory)
    _remove(directory)


def _remove(path: Path) -> None:
    """Remove a directory, if the disk lets it go."""
    shutil.rmtree(path, ignore_errors=True)


def _empty(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for left in path.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
